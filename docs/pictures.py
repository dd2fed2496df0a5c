#!/usr/bin/env python3
"""Makes the README's pictures from a Fourwire that runs: docs/pictures.py http://localhost:8080

One shows the parts, with the bytes that an entry took on each wire just now. The other is the page's lanes, with one
entry on its way over each transport, as Chromium shows them. Each exists in light and dark, with the page's colours.
`make pictures` installs what it needs: Chromium with its driver, and Pillow. With --check it only looks whether they
are there, and small.
"""

import base64
import io
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent
PICTURES = ROOT / "pictures"
STYLE = ROOT.parent / "broker/page/page.css"
NAMES = ["architecture-light.svg", "architecture-dark.svg", "lanes-light.webp", "lanes-dark.webp"]
MOST_BYTES = 200_000
TRANSPORTS = ["http", "rpc", "grpc", "rabbitmq"]
PROTOCOLS = {"http": "HTTP/1.1, JSON", "rpc": "tarpc over TCP", "grpc": "HTTP/2, Protocol Buffers"}
WIDTH = 1120
# How often it moves before it stands still, at the end.
ROUNDS = 3
LAST_FRAME_S = 4


def main():
    arguments = sys.argv[1:]
    if arguments != ["--check"]:
        url = (arguments or ["http://localhost:8080"])[0].rstrip("/")
        PICTURES.mkdir(exist_ok=True)
        draw_architecture(wire_bytes(url))
        with Browser() as browser:
            for scheme in ["light", "dark"]:
                film_lanes(browser, url, scheme)
    for name in NAMES:
        size = (PICTURES / name).stat().st_size
        if size > MOST_BYTES:
            sys.exit(f"docs/pictures/{name} has {size} bytes, more than {MOST_BYTES}")


def wire_bytes(url):
    """What one entry takes on each wire, there and back. The first opens the connection, and HPACK learns from two."""
    taken = {}
    for transport in TRANSPORTS * 3:
        entry = {"action": "log", "transport": transport, "log": {"name": "event", "data": "hello"}}
        request = urllib.request.Request(f"{url}/handle", json.dumps(entry).encode())
        with urllib.request.urlopen(request, timeout=10) as response:
            counted = json.load(response)["data"].get("wire_bytes", {"sent": 0, "received": 0})
        taken[transport] = (counted["sent"], counted["received"])
    return taken


def colours(scheme):
    """The page's colours by name: those of the dark scheme stand in a second block."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)[:2]
    found = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", light))
    if scheme == "dark":
        found.update(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", dark))
    return found


def draw_architecture(taken):
    for scheme in ["light", "dark"]:
        colour = colours(scheme)
        rows = {transport: 50 + 46 * place for place, transport in enumerate(TRANSPORTS)}
        parts = [
            box(150, 34, 84, 176, "broker", colour),
            box(596, 34, 84, 176, "logger", colour),
            box(730, 84, 124, 76, "store", colour, "committed, fsynced"),
            text(30, 114, "your service", colour["text"], 14),
            arrow(20, 122, 150, colour["text"]),
            text(30, 140, "JSON over HTTP", colour["quiet"], 11),
            arrow(680, 122, 730, colour["text"]),
            text(730, 180, "202 over http, rpc or", colour["quiet"], 11),
            text(730, 195, "grpc: stored", colour["quiet"], 11),
        ]
        for transport in TRANSPORTS:
            y, ink = rows[transport], colour[transport]
            sent, received = taken[transport]
            counted = f"{sent} + {received} bytes"
            parts.append(text(246, y - 6, transport, ink, 14, "bold"))
            if transport == "rabbitmq":
                parts += [
                    arrow(234, y, 370, ink),
                    arrow(460, y, 500, ink),
                    arrow(574, y, 596, ink),
                    box(370, y - 18, 90, 34, "RabbitMQ", colour, ink=ink),
                    box(500, y - 18, 74, 34, "listener", colour),
                    text(246, y + 14, counted, colour["quiet"], 11),
                    text(370, y + 30, "202: queued, in a quorum queue", colour["quiet"], 11),
                ]
            else:
                parts += [
                    arrow(234, y, 596, ink),
                    text(330, y - 6, PROTOCOLS[transport], colour["quiet"], 11),
                    text(586, y - 6, counted, colour["quiet"], 11, anchor="end"),
                ]
        picture = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 870 236" width="870" height="236" role="img"
font-family="system-ui, sans-serif">
<title>From a client through the broker, over one of four transports, to the logger and its store</title>
<rect width="870" height="236" rx="8" fill="{colour["ground"]}"/>
{chr(10).join(parts)}
</svg>
"""
        (PICTURES / f"architecture-{scheme}.svg").write_text(picture)


def box(x, y, width, height, label, colour, below="", ink=None):
    middle = y + height / 2 + (0 if below else 5)
    edge = ink or colour["edge"]
    frame = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{colour["card"]}" stroke="{edge}"/>'
    name = text(x + width / 2, middle, label, colour["text"], 14, "bold", "middle")
    more = text(x + width / 2, middle + 18, below, colour["quiet"], 11, anchor="middle") if below else ""
    return frame + name + more


def arrow(start, y, end, ink):
    return (f'<path d="M{start} {y}H{end - 7}" stroke="{ink}" stroke-width="2" fill="none"/>'
            f'<path d="M{end} {y}l-8 -4v8z" fill="{ink}"/>')


def text(x, y, words, ink, size, weight="normal", anchor="start"):
    return (f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
            f'fill="{ink}">{words}</text>')


def film_lanes(browser, url, scheme):
    browser.see(WIDTH, scheme)
    browser.open(url)
    browser.until("document.querySelectorAll('.lane svg.wire').length === 4")
    browser.run("document.querySelector('#lanes-send').click()")
    browser.until("document.querySelector('#lanes').dataset.runs === 'true'")
    frames, moments = [], []
    clip = browser.run("const at = document.querySelector('#lanes').getBoundingClientRect();"
                       "return {x: at.x + scrollX, y: at.y + scrollY, width: at.width, height: at.height, scale: 1}")
    while True:
        runs = browser.run("return document.querySelector('#lanes').dataset.runs") == "true"
        frames.append(browser.picture(clip))
        moments.append(time.monotonic())
        if not runs:
            break
    encode(frames, [later - sooner for sooner, later in zip(moments, moments[1:])], PICTURES / f"lanes-{scheme}.webp")


def encode(frames, durations, path):
    """An animation of the frames, without those that show the same as the one before."""
    from PIL import Image  # --check needs none

    shown = []
    for frame, lasts in zip(frames, [*durations, LAST_FRAME_S]):
        if shown and shown[-1][0] == frame:
            shown[-1][1] += lasts
        else:
            shown.append([frame, lasts])
    first, *others = [Image.open(io.BytesIO(frame)).convert("RGB") for frame, _ in shown]
    first.save(path, save_all=True, append_images=others, duration=[round(1000 * lasts) for _, lasts in shown],
               loop=ROUNDS, lossless=True, quality=100, method=6, minimize_size=True)


class Browser:
    """Chromium without a window, driven over WebDriver."""

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory()
        log = pathlib.Path(self.directory.name) / "log"
        with log.open("w") as output:
            own = {**os.environ, "HOME": self.directory.name}
            # Not 0: where there is no IPv6 it does not say which one it has taken.
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            self.driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=output, env=own)
        deadline = time.monotonic() + 20
        while "was started successfully" not in log.read_text():
            if time.monotonic() > deadline:
                sys.exit("chromedriver does not start: " + log.read_text())
            time.sleep(0.05)
        self.session = f"http://127.0.0.1:{port}/session"
        profile = f"--user-data-dir={self.directory.name}/profile"
        arguments = ["--headless=new", "--disable-gpu", "--hide-scrollbars", profile]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        options = {"args": arguments, "prefs": {"intl.accept_languages": "en-US"}}
        session = self.post("", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        self.session += "/" + session["sessionId"]
        return self

    def __exit__(self, *_):
        urllib.request.urlopen(urllib.request.Request(self.session, method="DELETE"), timeout=20)
        self.driver.terminate()
        self.driver.wait()
        self.directory.cleanup()

    def see(self, width, scheme):
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.tell("Emulation.setDeviceMetricsOverride", screen)
        self.tell("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def open(self, url):
        self.post("/url", {"url": url})

    def run(self, script):
        return self.post("/execute/sync", {"script": script, "args": []})

    def until(self, expression):
        deadline = time.monotonic() + 20
        while not self.run(f"return {expression}"):
            if time.monotonic() > deadline:
                sys.exit(f"the page does not come to {expression}")
            time.sleep(0.02)

    def picture(self, clip):
        taken = self.tell("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
        return base64.b64decode(taken["data"])

    def tell(self, command, parameters):
        return self.post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def post(self, path, body):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.session + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["value"]


if __name__ == "__main__":
    main()
