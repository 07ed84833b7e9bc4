"""The whole site in a real browser: no formula fails, no page is wider than a phone or a screen, the menu of versions works."""

import importlib.util
from pathlib import Path

import pytest

from tests.browser import look, needs_chromium

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site"), needs_chromium]
EXTENSIONS = Path(__file__).parents[2] / "docs" / "_ext"
FORMULAS = """
const inside = frame.contentWindow;
for (let i = 0; i < 100 && inside.MathJax && !inside.MathJax.startup?.promise; i++) await wait(50);
if (inside.MathJax?.startup?.promise) await inside.MathJax.startup.promise;
return {formulas: root.querySelectorAll("mjx-container").length, raw: root.querySelectorAll(".math").length,
        errors: [...root.querySelectorAll("mjx-merror")].map(e => e.getAttribute("data-mjx-error"))};
"""
VERSIONS = """
const links = () => [...frame.contentDocument.querySelectorAll("a[data-version]")];
for (let i = 0; i < 100 && !links().length; i++) await wait(50);
const shown = frame.contentDocument.querySelector(".version-switcher__button").innerText.trim();
const offered = [...new Set(links().map(a => a.dataset.versionName))];
const moved = new Promise(done => { frame.onload = done; });
links().find(a => a.dataset.version === "v0.1").click();
await moved;
return {shown, offered, at: frame.contentWindow.location.pathname};
"""


@pytest.mark.parametrize("width", [390, 1300])
def test_pages_fit_and_formulas_render(site, width, tmp_path):
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html") if "_static" not in path.parts)
    control = {"control.html": '<!doctype html><body><div style="width: 2000px">wide</div></body>'}  # must be reported
    (*seen, wide), _ = look(site, [*pages, *control], [width], FORMULAS, tmp_path, extra=control, seconds=600)
    assert wide["page"] == "control.html"
    assert wide["scroll"] > width
    assert [each["page"] for each in seen] == pages
    assert sum(each["formulas"] for each in seen) > 100
    assert {each["page"]: each["errors"] for each in seen if each["errors"]} == {}
    assert [each["page"] for each in seen if each["raw"] and not each["formulas"]] == []
    assert {each["page"]: each["scroll"] for each in seen if each["scroll"] > width} == {}


def test_the_menu_of_versions_leads_to_the_same_page_or_to_the_start(site, tmp_path):
    spec = importlib.util.spec_from_file_location("versions", EXTENSIONS / "versions.py")
    versions = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(versions)
    older = tmp_path / "older"
    (older / "gallery").mkdir(parents=True)
    for name in ("index.html", "start.html", "gallery/index.html"):
        (older / name).write_text("<!doctype html><title>an older page</title>")
    (tmp_path / "served" / "oq").mkdir(parents=True)
    for folder, ref in ((older, "refs/tags/v0.1.0"), (site, "refs/heads/main")):
        versions.publish(folder, tmp_path / "served" / "oq", ref, "/oq/")
    pages = ["oq/dev/start.html", "oq/dev/gallery/index.html", "oq/dev/", "oq/dev/reference/generated/quantization.quantize.html"]
    seen, _ = look(tmp_path / "served", pages, [1300], VERSIONS, tmp_path)
    assert [(each["shown"], each["offered"]) for each in seen] == [("dev", ["v0.1 (stable)", "dev"])] * len(pages)
    ends = ["start.html", "gallery/index.html", "index.html", ""]  # the last page is not there in the older version
    assert [each["at"] for each in seen] == [f"/oq/v0.1/{end}" for end in ends]
