"""The report in a real browser: nothing wider than a phone or a screen, every picture there, nothing in the console."""

import pytest

from tests.browser import look, needs_chromium

pytestmark = pytest.mark.slow
SEEN = """
const images = [...root.querySelectorAll("img")], boxes = [...root.querySelectorAll(".wide")];
return {images: images.length, broken: images.filter(e => !e.naturalWidth).map(e => e.getAttribute("src")),
        scrolling: boxes.filter(e => e.scrollWidth > e.clientWidth).length, boxes: boxes.length};
"""


@needs_chromium
def test_the_report_fits_a_phone_and_a_screen(finished, tmp_path):
    errors = '<img src="none.png" alt=""><div style="width: 2000px">wide</div><script>oops()</script>'
    control = {"control.html": f'<!doctype html><link rel="icon" href="data:,">{errors}'}
    found, console = look(finished.folder / "report", ["index.html", *control], [390, 1300], SEEN, tmp_path, extra=control)
    *seen, narrow, wide = found
    for each in (narrow, wide):  # what must be reported is
        assert each["scroll"] > each["width"]
        assert each["broken"] == ["none.png"]
    assert any("control.html" in line for line in console), "the control's error is told"
    assert [line for line in console if "control.html" not in line] == []
    for each in seen:
        assert each["scroll"] <= each["width"], each
        assert each["broken"] == []
        assert each["images"] >= 6
        assert each["boxes"] >= 3
    assert seen[0]["scrolling"], "on a phone tables scroll in their own box"
