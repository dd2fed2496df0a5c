#!/usr/bin/env python3
"""Writes the decision table of README.md and README.ru.md from docs/results/figures.json.

    docs/tables.py                rewrites the tables
    docs/tables.py --take DIR     takes the figures of a run first: DIR is what `compare` has left
    docs/tables.py --check        fails if a table is not what the figures say

The words are here, the figures are measured. Where the words claim that a transport is ahead, level or never refuses,
the figures are checked for it first: new ones that say something else stop the script.
"""

import json
import sys
import textwrap
from pathlib import Path

DOCS = Path(__file__).resolve().parent
FIGURES = DOCS / "results" / "figures.json"
BEGIN, END = "<!-- decision: written by docs/tables.py -->", "<!-- /decision -->"
# How far two medians may be apart and still be called level. The verdicts of `compare` are stricter.
LEVEL = 1.10


class Figures:
    """What the table quotes, once it is known to bear out the table's words."""

    def __init__(self, figures):
        self.compare, self.streams, self.outage = figures["compare"], figures["streams"], figures["outage"]
        self.one, self.eight, self.many = (self.rates(clients) for clients in (1, 8, 64))
        self.cpu, self.batches = self.compare["cpu_us_per_entry"], self.compare["batches"]
        # A call for each entry, 64 clients.
        self.calls, self.call_cpu = (self.compare["own_calls"][name] for name in ("requests_per_s", "cpu_us_per_entry"))
        refused = self.outage["refused"]
        self.refused = sorted(refused[name] for name in ("http", "rpc", "grpc"))

        for clients, rates in ((1, self.one), (8, self.eight), (64, self.many)):
            fast, slow = sorted((rates["http"], rates["rpc"]), reverse=True)
            must(fast <= LEVEL * slow, f"http and rpc are level with {clients} clients")
            must(fast >= rates["grpc"], f"grpc is not ahead with {clients} clients")
        for name in ("http", "grpc"):
            must(self.calls["rpc"] > LEVEL * self.calls[name], f"rpc is ahead of {name} by calls")
            must(self.call_cpu["rpc"] < self.call_cpu[name], f"a call costs less CPU time over rpc than over {name}")
        stream = self.streams["write_logs_entries_per_s"]
        must(stream > self.batches["entries_per_s"][1], "a stream stores more than batches")
        must(refused["rabbitmq"] == 0, "rabbitmq refuses nothing while the logger is down")
        must(min(self.refused) > 0, "the others refuse while the logger is down")
        worth = self.batches["entries_per_s"][0] / self.batches["one_by_one_per_s"][1]
        must(worth > self.many["rpc"] / self.many["rabbitmq"], "batches are worth more than any transport")

    def rates(self, clients):
        """Entries of 64 B stored per second."""
        rows = self.compare["stored_per_s"]
        found = [row for row in rows if (row["payload_bytes"], row["clients"]) == (64, clients)]
        must(len(found) == 1, f"there is one cell of 64 B and {clients} clients")
        return found[0]


def must(holds, claim):
    if not holds:
        sys.exit(f"docs/results/figures.json does not bear out that {claim}: change the words in docs/tables.py")


def english(f):
    n = "{:,}".format
    rows = [
        "| you need | take | because |",
        "|---|---|---|",
        "| nothing in particular, or what curl, browsers and proxies speak | `http` "
        f"| as fast as `rpc`, within the uncertainty: {n(f.many['http'])} and {n(f.many['rpc'])} entries/s with 64 clients (`grpc` "
        f"{n(f.many['grpc'])}), {n(f.eight['http'])} and {n(f.eight['rpc'])} with 8, {n(f.one['http'])} and "
        f"{n(f.one['rpc'])} with 1; the broker packs entries that arrive at the same time into one call |",
        "| the cheapest single call between your own services | `rpc` "
        f"| with a call for each entry (`BROKER_COALESCE=off`) {n(f.calls['rpc'])} entries/s at {f.call_cpu['rpc']} µs of CPU time each; "
        f"`http` {n(f.calls['http'])} at {f.call_cpu['http']} µs, `grpc` {n(f.calls['grpc'])} at "
        f"{f.call_cpu['grpc']} µs. As shipped, calls are shared: {f.cpu['http']} µs over `http`, "
        f"{f.cpu['rpc']} µs over `rpc`. Rust to Rust (tarpc) |",
        "| clients in other languages, or streams | `grpc` "
        "| clients are generated from one `.proto` file; a single stream, straight to the logger, stores "
        f"{n(f.streams['write_logs_entries_per_s'])} entries/s |",
        "| clients that must not notice when the logger is down | `rabbitmq` "
        f"| {f.outage['what']}: none of {n(f.outage['requests'])} requests refused, {n(f.refused[0])} to "
        f"{n(f.refused[-1])} over the others; but 202 means queued, and throughput is {n(f.many['rabbitmq'])} "
        f"entries/s at {f.cpu['rabbitmq']} µs |",
        "| speed above all | batches over `http`, `rpc` or `grpc` "
        f"| {n(f.batches['entries_per_s'][0])} to {n(f.batches['entries_per_s'][1])} entries/s over each of these "
        f"with {f.batches['entries_per_batch']} entries per request and {f.batches['clients']} clients, "
        f"{n(f.batches['one_by_one_per_s'][0])} to {n(f.batches['one_by_one_per_s'][1])} one by one, and a stream "
        "more still; but a batch is stored as a whole or not at all |",
    ]
    note = f"""
        64-byte entries, each stored and fsynced; 64 clients of the broker unless stated. Measured on {f.compare['date']} on 2 cores
        that the load generator shared, over loopback: the ratios carry further than the rates. Method and uncertainty
        are in [docs/comparing.md](docs/comparing.md), all figures in [docs/results](docs/results/README.md)."""
    return rows, note


def russian(f):
    def n(value):
        return f"{value:,}".replace(",", "\u00a0") if value >= 10_000 else str(value)

    rows = [
        "| что нужно | транспорт | почему |",
        "|---|---|---|",
        "| ничего особенного; доступ из curl, из браузера, через прокси | `http` "
        f"| не уступает `rpc` (в пределах погрешности): {n(f.many['http'])} и {n(f.many['rpc'])} записей/с с 64 клиентами (`grpc` — "
        f"{n(f.many['grpc'])}), {n(f.eight['http'])} и {n(f.eight['rpc'])} с восемью, {n(f.one['http'])} и "
        f"{n(f.one['rpc'])} с одним: записи, пришедшие одновременно, broker передаёт одним вызовом |",
        "| самый дешёвый одиночный вызов между своими сервисами | `rpc` "
        f"| если у каждой записи свой вызов (`BROKER_COALESCE=off`) — {n(f.calls['rpc'])} записей/с и {f.call_cpu['rpc']} мкс CPU на запись; "
        f"`http` — {n(f.calls['http'])} и {f.call_cpu['http']} мкс, `grpc` — {n(f.calls['grpc'])} и "
        f"{f.call_cpu['grpc']} мкс. По умолчанию вызовы общие: {f.cpu['http']} мкс через `http`, "
        f"{f.cpu['rpc']} мкс через `rpc`. Только Rust с Rust (tarpc) |",
        "| клиенты на других языках или потоки | `grpc` "
        "| код клиента генерируется из одного файла `.proto`; один поток прямо в logger сохраняет "
        f"{n(f.streams['write_logs_entries_per_s'])} записей/с |",
        "| чтобы клиенты не замечали, что logger недоступен | `rabbitmq` "
        f"| logger убит на 3 с: не отклонён ни один из {n(f.outage['requests'])} запросов, у остальных — от "
        f"{n(f.refused[0])} до {n(f.refused[-1])}; но 202 означает «в очереди», а скорость — {n(f.many['rabbitmq'])} "
        f"записей/с при {f.cpu['rabbitmq']} мкс |",
        "| прежде всего скорость | пакеты через `http`, `rpc` или `grpc` "
        f"| {n(f.batches['entries_per_s'][0])}–{n(f.batches['entries_per_s'][1])} записей/с через каждый из них "
        f"по {f.batches['entries_per_batch']} записей в запросе с {f.batches['clients']} клиентами, по одной — "
        f"{n(f.batches['one_by_one_per_s'][0])}–{n(f.batches['one_by_one_per_s'][1])}, поток — ещё быстрее; но пакет "
        "сохраняется только целиком |",
    ]
    note = f"""
        Записи по 64 байта, каждая сохранена на диск (fsync); если не указано иное, 64 клиента у broker. Измерено
        {f.compare['date']} на 2 ядрах вместе с генератором нагрузки, через loopback: отношения надёжнее абсолютных
        чисел. Как измерено и с какой погрешностью — в [docs/comparing.md](docs/comparing.md), все цифры — в
        [docs/results](docs/results/README.md)."""
    return rows, note


def with_table(page, rows, note):
    """The text of the page with the table between its two marks."""
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.exit(f"{page.name} must have {BEGIN} and {END}, each once")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    # Breaks at spaces alone: a long link stays whole.
    note = textwrap.fill(" ".join(note.split()), 120, break_long_words=False, break_on_hyphens=False)
    return "".join((before, BEGIN, "\n", "\n".join(rows), "\n\n", note, "\n\n", END, after))


def written(value, indent=""):
    """JSON in which what fits on a line stands on one."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or len(indent) + len(line) <= 118 and not any(
        isinstance(part, (dict, list)) for part in (value.values() if isinstance(value, dict) else value)
    ):
        return line
    deeper = indent + "  "
    if isinstance(value, dict):
        parts = [f"{deeper}{json.dumps(key)}: {written(part, deeper)}" for key, part in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + written(part, deeper) for part in value) + f"\n{indent}]"


def take(directory):
    """Puts the figures of a run in place of those of the last one."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    figures.update(json.loads((Path(directory) / "figures.json").read_text(encoding="utf-8")))
    FIGURES.write_text(written(figures) + "\n", encoding="utf-8")


def main():
    check = sys.argv[1:] == ["--check"]
    taken = sys.argv[2] if len(sys.argv) == 3 and sys.argv[1] == "--take" else None
    if sys.argv[1:] and not check and not taken:
        sys.exit(__doc__)
    if taken:
        take(taken)
    figures = Figures(json.loads(FIGURES.read_text(encoding="utf-8")))
    for name, words in (("README.md", english), ("README.ru.md", russian)):
        page = DOCS.parent / name
        wanted = with_table(page, *words(figures))
        if not check:
            page.write_text(wanted, encoding="utf-8")
        elif page.read_text(encoding="utf-8") != wanted:
            sys.exit(f"the decision table of {name} is not what docs/results/figures.json says: run `make docs`")


if __name__ == "__main__":
    main()
