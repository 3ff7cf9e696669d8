"""Headless Chromium, driven by its debugging protocol: opens pages, and tells what a reader would see."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from websockets.sync.client import connect
from websockets.sync.connection import Connection

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

WAIT_SECONDS = 60

OVERFLOWING = """
[...document.querySelectorAll("h1, h2, h3, p, td, th, dt, dd, li, summary, figcaption, pre, button")]
  .filter(e => e.clientWidth && getComputedStyle(e).overflowX === "visible")
  .filter(e => e.scrollWidth > e.clientWidth + 1)
  .map(e => `${e.tagName}: ${e.textContent.slice(0, 80)}`)
"""
"""Elements whose text leaves their box."""

OPEN_DETAILS = """
document.querySelectorAll("details").forEach(e => { e.open = true; });
new Promise(done => setTimeout(done, 500))
"""
"""Opening of all that is folded away."""

WIDER_THAN_SCREEN = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

EMPTY_PLOTS = """
[...document.querySelectorAll(".plot")]
  .filter(e => e.clientWidth && !e.querySelector("svg .trace, svg .bars, svg .points, canvas"))
  .map(e => e.closest("figure").ariaLabel)
"""
"""Titles of plots without a curve."""


@dataclass
class Browser:
    """Connection to a tab of Chromium."""

    socket: Connection
    events: list[dict[str, Any]] = field(default_factory=list)
    ids: Iterator[int] = field(default_factory=lambda: count(1))

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self.ids)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (message := self.receive()).get("id") != number:
            pass
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.socket.recv(timeout=WAIT_SECONDS))
        if "method" in message:
            self.events.append(message)
        return message

    def wait_for(self, event: str) -> None:
        while not any(seen["method"] == event for seen in self.events):
            self.receive()

    def open(self, page: Path, width: int, colours: str = "light") -> None:
        """Open a file at a width, and wait until it is loaded and drawn."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = [{"name": "prefers-color-scheme", "value": colours}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.events.clear()
        self.call("Page.navigate", url=page.absolute().as_uri())
        self.wait_for("Page.loadEventFired")
        self.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 300)))")

    def evaluate(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings of the page's console, as text."""
        kinds = {"Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"}
        return [json.dumps(event["params"])[:500] for event in self.events if event["method"] in kinds]

    @property
    def requests(self) -> list[str]:
        """Addresses that the page asked for, beside itself and what it has within it."""
        sent = [event["params"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        urls = [request["request"]["url"] for request in sent if request["type"] != "Document"]
        return [url[:200] for url in urls if not url.startswith(("data:", "blob:"))]

    def problems(self) -> dict[str, Any]:
        """What a reader would complain of: by kind, without kinds of which there are none."""
        seen = {
            "console": self.complaints,
            "requests": self.requests,
            "overflowing": self.evaluate(OVERFLOWING),
            "wider than the screen": self.evaluate(WIDER_THAN_SCREEN),
            "empty plots": self.evaluate(EMPTY_PLOTS),
        }
        return {kind: value for kind, value in seen.items() if value}

    def picture(self, path: Path, height: int = 0) -> None:
        """Save a picture of the whole page, or of its first `height` pixels."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a headless Chromium of its own, and connect to its first tab."""
    assert CHROMIUM
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "--no-first-run"]
        process = subprocess.Popen([CHROMIUM, *options, "about:blank"], stderr=subprocess.DEVNULL)
        try:
            port = wait_for_port(Path(profile) / "DevToolsActivePort")
            with connect(tab_address(port), max_size=None) as socket:
                yield Browser(socket)
        finally:
            process.terminate()
            process.wait(WAIT_SECONDS)


def wait_for_port(file: Path) -> int:
    """Return the port that Chromium listens at, once it says so."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if file.exists() and (lines := file.read_text().split()):
            return int(lines[0])
        time.sleep(0.1)
    raise TimeoutError(file)


def tab_address(port: int) -> str:
    """Return the address of the first tab."""
    from urllib.request import urlopen

    with urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
        tabs = json.loads(answer.read())
    return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))
