"""The whole site in a real browser: no formula that fails, no page wider than a phone or a screen.

Each page is loaded in a frame of a given width inside one page, which writes down what it sees; Chromium prints that page.
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

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOOK = """
<!doctype html><meta charset="utf-8"><body><script>
const pages = PAGES, seen = [];
const wait = ms => new Promise(done => setTimeout(done, ms));
async function look() {
  for (const page of pages) {
    const frame = document.createElement("iframe");
    frame.style.cssText = "width:WIDTHpx;height:900px;border:0";
    const loaded = new Promise(done => { frame.onload = done; });
    frame.src = "/" + page;
    document.body.append(frame);
    await loaded;
    const inside = frame.contentWindow;
    for (let i = 0; i < 100 && inside.MathJax && !inside.MathJax.startup?.promise; i++) await wait(50);
    if (inside.MathJax?.startup?.promise) await inside.MathJax.startup.promise;
    const root = inside.document.documentElement;
    seen.push({page, width: root.scrollWidth, formulas: root.querySelectorAll("mjx-container").length,
               raw: root.querySelectorAll(".math").length,
               errors: [...root.querySelectorAll("mjx-merror")].map(e => e.getAttribute("data-mjx-error"))});
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


@pytest.fixture(scope="module")
def address(site):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path")
@pytest.mark.parametrize("width", [390, 1300])
def test_pages_fit_and_formulas_render(site, address, width, tmp_path):
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html") if "_static" not in path.parts)
    control = f"control{width}.html"  # a page that must be reported
    (site / control).write_text('<!doctype html><body><div style="width: 2000px">wide</div></body>')
    looked_at = json.dumps([*pages, control])
    (site / f"look{width}.html").write_text(LOOK.replace("PAGES", looked_at).replace("WIDTH", str(width)))
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--window-size=1400,1000"]
    options += ["--virtual-time-budget=600000", "--dump-dom", f"{address}/look{width}.html"]
    ended = subprocess.run([CHROMIUM, *options], capture_output=True, text=True, check=False, timeout=600)
    for name in (control, f"look{width}.html"):
        (site / name).unlink()
    found = re.search(r'<pre id="found">(.*?)</pre>', ended.stdout, re.DOTALL)
    assert found, ended.stderr[-2000:]
    *seen, wide = json.loads(html.unescape(found[1]))
    assert wide["page"] == control
    assert wide["width"] > width
    assert [each["page"] for each in seen] == pages
    assert sum(each["formulas"] for each in seen) > 100
    assert {each["page"]: each["errors"] for each in seen if each["errors"]} == {}
    assert [each["page"] for each in seen if each["raw"] and not each["formulas"]] == []
    assert {each["page"]: each["width"] for each in seen if each["width"] > width} == {}
