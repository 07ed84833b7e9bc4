"""The site: it builds without warnings, every public name has a page, no formula stands raw, no page loads from elsewhere."""

import html
import re

import pytest

import distill
import quantization as qz
import theory_checks

pytestmark = pytest.mark.xdist_group("site")  # one process builds it

MODULES = {"claims", "plot"}  # of packages: what they hold has pages
NAMES = [f"quantization.{name}" for name in [*qz.__all__, "OptimalQuantizer"]]
NAMES += [f"quantization.plot.{name}" for name in ("barycenter", "paths", "trace", "voronoi")]
NAMES += [f"theory_checks.{name}" for name in theory_checks.__all__ if name not in MODULES]
NAMES += [f"distill.{name}" for name in distill.__all__]


@pytest.fixture(scope="module")
def pages(site):
    return {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


def test_every_public_name_has_a_page(pages):
    missing = [name for name in NAMES if f"reference/generated/{name}.html" not in pages]
    assert not missing


def test_no_formula_stands_raw(pages):
    """Outside of code, dollars and LaTeX are inside what MathJax renders."""
    for name, page in pages.items():
        body = re.sub(r"<(script|pre|code|style)\b.*?</\1>", "", page, flags=re.DOTALL)
        body = re.sub(r'<(span|div) class="math[^"]*"[^>]*>.*?</\1>', "", body, flags=re.DOTALL)
        text = html.unescape(re.sub(r"<[^>]+>", "", body))
        assert not re.findall(r"\$[^$\n]*\$|\\(?:sum|min|mathbb|frac|le|mid|lambda)\b", text), name


def test_examples_stand_in_blocks_of_code(pages):
    """No prompt is part of the prose, as where a section of a docstring runs into the next."""
    for name, page in pages.items():
        text = re.sub(r"<(script|pre|code|style)\b.*?</\1>", "", page, flags=re.DOTALL)
        assert "&gt;&gt;&gt;" not in text, name


def test_every_claim_has_a_figure_described_in_words(site, pages):
    """Its own section shows an image that is there, whose alternative text has the numbers of the record."""
    for claim in theory_checks.CLAIMS.values():
        page = pages[f"theorems/{claim.topic}.html"]
        (section,) = re.findall(rf'<section id="{claim.name.replace("_", "-")}">.*?</section>', page, re.DOTALL)
        images = [image for image in re.findall(r"<img\b[^>]*>", section) if f"/{claim.name}.png" in image]
        assert len(images) == 1, claim.name
        (source,) = re.findall(r'src="([^"]+)"', images[0])
        assert (site / "theorems" / source).resolve().read_bytes().startswith(b"\x89PNG"), claim.name
        (words,) = re.findall(r'alt="([^"]+)"', images[0])
        assert re.search(r"nearest to failing: observed \S+, bound \S+, slack \S+\.", words), claim.name


def test_pages_load_nothing_from_elsewhere(pages):
    for name, page in pages.items():
        loaded = re.findall(r"<(?:script|img|iframe)\b[^>]*\bsrc=\"(https?:[^\"]*)", page)
        loaded += re.findall(r"<link\b[^>]*rel=\"(?:stylesheet|preload|icon)\"[^>]*href=\"(https?:[^\"]*)", page)
        assert not loaded, name


def test_pages_have_the_menu_of_versions(pages):
    for name, page in pages.items():
        if 'class="bd-header' in page:
            assert "theme_switcher_json_url = '../switcher.json'" in page, name
            assert "theme_switcher_version_match = 'dev'" in page, name
    assert sum("version-switcher__button" in page for page in pages.values()) > 100
