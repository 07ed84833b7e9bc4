"""Pages in headless Chromium: a folder is served on this machine, and each page is looked at in a frame of a given width.

Chromium prints the page that holds the frames, on which a script has written what it saw.
"""

import html
import json
import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path")
LOOK = """
<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body><script>
const wait = ms => new Promise(done => setTimeout(done, ms));
async function look(frame, root) { SCRIPT }
async function all() {
  const seen = [];
  for (const page of PAGES) for (const width of WIDTHS) {
    const frame = document.createElement("iframe");
    frame.style.cssText = `width:${width}px;height:900px;border:0`;
    const loaded = new Promise(done => { frame.onload = done; });
    frame.src = "/" + page;
    document.body.append(frame);
    await loaded;
    const found = await look(frame, frame.contentDocument.documentElement);
    seen.push({page, width, scroll: frame.contentDocument.documentElement.scrollWidth, ...found});
    frame.remove();
  }
  const found = document.createElement("pre");
  found.id = "found";
  found.textContent = JSON.stringify(seen);
  document.body.replaceChildren(found);
}
all();
</script></body>
"""


class _Folder(SimpleHTTPRequestHandler):
    """The files of a folder, and pages that are in no file."""

    def __init__(self, *args, pages, **kwargs):
        self.pages = pages
        super().__init__(*args, **kwargs)

    def do_GET(self):
        if self.path.lstrip("/") not in self.pages:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self.pages[self.path.lstrip("/")].encode())

    def log_message(self, *_):
        pass


def look(folder, pages, widths, script, tmp_path, *, extra=None, seconds=60):
    """What ``script`` returns of each page at each width, and the lines of the console.

    script: the body of a function of ``frame`` and its document's ``root``; extra: pages by name that are in no file.
    """
    page = LOOK.replace("SCRIPT", script).replace("PAGES", json.dumps(list(pages))).replace("WIDTHS", json.dumps(widths))
    handler = partial(_Folder, directory=str(folder), pages={**(extra or {}), "look.html": page})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'browser'}",
        "--window-size=1400,1000",
    ]
    options += ["--enable-logging=stderr", f"--virtual-time-budget={1000 * seconds}", "--dump-dom"]
    try:
        command = [CHROMIUM, *options, f"http://127.0.0.1:{server.server_port}/look.html"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    finally:
        server.shutdown()
        server.server_close()
    found = re.search(r'<pre id="found">(.*?)</pre>', ended.stdout, re.DOTALL)
    assert found, ended.stderr[-2000:]
    return json.loads(html.unescape(found[1])), [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
