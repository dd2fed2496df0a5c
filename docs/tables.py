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

    def about(value):
        return n(round(value, -2))

    rows = [
        "| you need | take | because |",
        "|---|---|---|",
        "| nothing in particular, or what curl, browsers and proxies speak | `http` "
        f"| as fast as `rpc`: {about(f.many['http'])} and {about(f.many['rpc'])} entries/s, level within the uncertainty |",
        "| the cheapest single call between your own services | `rpc` "
        f"| {f.call_cpu['rpc']} µs of CPU time where each entry has its own call (`http` {f.call_cpu['http']}, `grpc` "
        f"{f.call_cpu['grpc']}); but Rust to Rust |",
        "| clients in other languages, or streams | `grpc` "
        "| clients are generated from one `.proto` file; one stream stores "
        f"{about(f.streams['write_logs_entries_per_s'])} entries/s |",
        "| clients that must not notice when the logger is down | `rabbitmq` "
        f"| none of {n(f.outage['requests'])} requests refused in an outage; but 202 means queued, and "
        f"{about(f.many['rabbitmq'])} entries/s |",
        "| speed above all | batches over `http`, `rpc` or `grpc` "
        f"| over {n(f.batches['entries_per_s'][0] // 10_000 * 10_000)} entries/s; but a batch is stored as a whole or not at all |",
    ]
    note = f"""
        Entries of 64 bytes, each stored and fsynced, from 64 clients ({f.batches['clients']} with batches of
        {f.batches['entries_per_batch']}); the broker lets entries that arrive together share a call. Measured on
        {f.compare['date']} on 2 cores that the load generator shared, over loopback: the ratios carry further than the
        rates. The evidence, with fewer clients, larger entries and the uncertainty: [rates, CPU time, batches and
        streams](docs/results/{f.compare['page']}), [the outage](docs/results/{f.outage['page']}), [other
        runs](docs/results/README.md). The method: [docs/comparing.md](docs/comparing.md)."""
    return rows, note


def russian(f):
    def n(value):
        return f"{value:,}".replace(",", "\u00a0") if value >= 10_000 else str(value)

    def about(value):
        return n(round(value, -2))

    rows = [
        "| что нужно | транспорт | почему |",
        "|---|---|---|",
        "| ничего особенного; доступ из curl, из браузера, через прокси | `http` "
        f"| не уступает `rpc`: {about(f.many['http'])} и {about(f.many['rpc'])} записей/с, разница в пределах погрешности |",
        "| самый дешёвый одиночный вызов между своими сервисами | `rpc` "
        f"| {f.call_cpu['rpc']} мкс CPU, если у каждой записи свой вызов (`http` — {f.call_cpu['http']}, `grpc` — "
        f"{f.call_cpu['grpc']}); но только Rust с Rust |",
        "| клиенты на других языках или потоки | `grpc` "
        "| код клиента генерируется из одного файла `.proto`; один поток сохраняет "
        f"{about(f.streams['write_logs_entries_per_s'])} записей/с |",
        "| чтобы клиенты не замечали, что logger недоступен | `rabbitmq` "
        f"| за время сбоя не отклонён ни один из {n(f.outage['requests'])} запросов; но 202 означает «в очереди», а "
        f"скорость — {about(f.many['rabbitmq'])} записей/с |",
        "| прежде всего скорость | пакеты через `http`, `rpc` или `grpc` "
        f"| более {n(f.batches['entries_per_s'][0] // 10_000 * 10_000)} записей/с; но пакет сохраняется только целиком |",
    ]
    note = f"""
        Записи по 64 байта, каждая сохранена на диск (fsync), 64 клиента (с пакетами по {f.batches['entries_per_batch']}
        записей — {f.batches['clients']}); записи, пришедшие одновременно, broker передаёт одним вызовом. Измерено
        {f.compare['date']} на 2 ядрах вместе с генератором нагрузки, через loopback: отношения надёжнее абсолютных
        чисел. Сами измерения — с другим числом клиентов, с большими записями и с погрешностью: [скорость, CPU, пакеты и
        потоки](docs/results/{f.compare['page']}), [сбой](docs/results/{f.outage['page']}), [остальные
        прогоны](docs/results/README.md). Как измерено: [docs/comparing.md](docs/comparing.md)."""
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
