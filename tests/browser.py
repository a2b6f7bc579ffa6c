"""Chromium without a window: what a page's script answers, and what axe-core finds wrong with a page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread

import axe_core_python

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)
NONE_HERE = "no Chromium is installed here"

_AXE = Path(axe_core_python.__file__).with_name("axe.min.js")
_ASK = """
<script src="%s"></script>
<script>
addEventListener("load", async () => {
  const found = await axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] });
  const wrong = found.violations.flatMap(each => each.nodes.map(node => `${each.id}: ${node.html.slice(0, 120)}`));
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) wrong.push(`${wide} pixels wide in a window of ${innerWidth}`);
  document.title = JSON.stringify([matchMedia("(prefers-color-scheme: dark)").matches, found.passes.length, wrong]);
});
</script>
"""


def _asked(page: str, script: str) -> str:
    """A page with a script at its end; its own policy lets no other run."""
    return re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page).replace("</body>", f"{script}</body>")


def answer_of(page: str, script: str, profile: Path, width: int) -> str:
    """What a script passes to ``answer(text)``, in real time: a budget of virtual time may pass unused.

    Args:
        page: HTML.
        script: run at the page's end.
        profile: folder for the browser.
        width: of the window, pixels.
    """
    told = "<script>const answer = text => fetch('/', { method: 'POST', body: text });</script>"
    asked = _asked(page, told + script).encode()
    answers: Queue[str] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(asked if self.path == "/" else b"")

        def do_POST(self) -> None:
            answers.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self._send(b"")

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        place = (f"--window-size={width},900", f"--user-data-dir={profile}", f"http://127.0.0.1:{server.server_port}/")
        command = [str(BROWSER), *FLAGS, "--remote-debugging-port=0", *place]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) as browser:
            try:
                return answers.get(timeout=60)
            finally:
                browser.terminate()
                server.shutdown()


def violations(page: Path, profile: Path, width: int = 1280, dark: bool = False) -> list[str]:
    """What breaks WCAG 2.1 (A and AA) on a page: contrast, names, reach by keys; or is wider than the window.

    Args:
        page: HTML; a copy is written beside it, which may run axe's script.
        profile: folder for the browser.
        width: of the window, pixels.
        dark: as one who prefers dark pages sees it.
    """
    asked = page.with_name(f"asked_{page.name}")
    asked.write_text(_asked(page.read_text(encoding="utf-8"), _ASK % _AXE.as_uri()), encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    budget = ("--timeout=60000", "--virtual-time-budget=20000", "--dump-dom")
    place = (f"--window-size={width},900", scheme, f"--user-data-dir={profile}", asked.as_uri())
    command = [str(BROWSER), *FLAGS, *budget, *place]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    title = re.search(r"<title>(.*?)</title>", seen, re.DOTALL)
    assert title is not None, seen[:500]
    is_dark, passes, found = json.loads(unescape(title[1]))
    assert is_dark == dark
    assert passes, "nothing was looked at"
    return list(found)
