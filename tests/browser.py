"""Chromium without a window, and what axe-core finds wrong with a page in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

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
  document.title = JSON.stringify([matchMedia("(prefers-color-scheme: dark)").matches, found.passes.length, wrong]);
});
</script>
"""


def violations(page: Path, profile: Path, width: int = 1280, dark: bool = False) -> list[str]:
    """What breaks WCAG 2.1 (A and AA) on a page: contrast, names for what is seen, reach by keys.

    Args:
        page: HTML; a copy is written beside it, which may run axe's script.
        profile: folder for the browser.
        width: of the window, pixels.
        dark: as one who prefers dark pages sees it.
    """
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    asked = page.with_name(f"asked_{page.name}")
    asked.write_text(text.replace("</body>", f"{_ASK % _AXE.as_uri()}</body>"), encoding="utf-8")
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
