"""The report in a real browser: nothing wider than a phone or a screen, every picture there, nothing in the console."""

import html
import json
import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOOK = """
<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body><script>
async function look() {
  const seen = [];
  for (const page of ["index.html", "control.html"]) for (const width of [390, 1300]) {
    const frame = document.createElement("iframe");
    frame.style.cssText = `width:${width}px;height:900px;border:0`;
    const loaded = new Promise(done => { frame.onload = done; });
    frame.src = page;
    document.body.append(frame);
    await loaded;
    const root = frame.contentDocument.documentElement;
    const images = [...root.querySelectorAll("img")], boxes = [...root.querySelectorAll(".wide")];
    seen.push({page, width, scroll: root.scrollWidth, images: images.length,
               broken: images.filter(e => !e.naturalWidth).map(e => e.getAttribute("src")),
               scrolling: boxes.filter(e => e.scrollWidth > e.clientWidth).length, boxes: boxes.length});
    frame.remove();
  }
  const found = document.createElement("pre");
  found.id = "found";
  found.textContent = JSON.stringify(seen);
  document.body.replaceChildren(found);
}
look();
</script></body>
"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path")
def test_the_report_fits_a_phone_and_a_screen(finished, tmp_path):
    shutil.copytree(finished.folder / "report", tmp_path / "report")
    (tmp_path / "report" / "look.html").write_text(LOOK)
    errs = '<img src="none.png" alt=""><div style="width: 2000px">wide</div><script>oops()</script>'
    control = f'<!doctype html><link rel="icon" href="data:,">{errs}'
    (tmp_path / "report" / "control.html").write_text(control)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path / "report")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'user'}",
        "--enable-logging=stderr",
    ]
    options += ["--window-size=1400,1000", "--virtual-time-budget=60000", "--dump-dom"]
    try:
        address = f"http://127.0.0.1:{server.server_port}/look.html"
        ended = subprocess.run([CHROMIUM, *options, address], capture_output=True, text=True, check=False, timeout=300)
    finally:
        server.shutdown()
        server.server_close()
    found = re.search(r'<pre id="found">(.*?)</pre>', ended.stdout, re.DOTALL)
    assert found, ended.stderr[-2000:]
    *seen, narrow, wide = json.loads(html.unescape(found[1]))
    for each in (narrow, wide):  # what must be reported is
        assert each["scroll"] > each["width"]
        assert each["broken"] == ["none.png"]
    console = [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
    assert any("control.html" in line for line in console), "the control's error is told"
    assert [line for line in console if "control.html" not in line] == []
    for each in seen:
        assert each["scroll"] <= each["width"], each
        assert each["broken"] == []
        assert each["images"] >= 6
        assert each["boxes"] >= 3
    assert seen[0]["scrolling"], "on a phone tables scroll in their own box"
