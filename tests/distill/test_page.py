"""The templates of the report and the card: escaped, complete, the same bytes every time."""

import copy
import re

import pytest
from jinja2 import UndefinedError

from distill.report.comparisons import compared, verdict
from distill.report.page import environment, render
from distill.report.table import accuracies, decides

ROW = {
    "method": "ddoq",
    "labels": "fixed",
    "ipc": 3,
    "student": "<i>net</i>",
    "protocol": "small",
    "seeds": 2,
    "label_bytes": 2048,
    "top1_mean": 0.5,
    "top1_std": 0.125,
    "top5_mean": 0.75,
    "best_mean": 0.625,
    "w2_codes": 1.5,
    "distances": {"latent": None, "features": None, "pixels": None},
    "recognized": None,
    "top1_low": 0.375,
    "top1_high": 0.625,
    "effective": 2.5,
}
COMPARISON = {
    "first": "ddoq",
    "second": "random",
    "labels": "fixed",
    "ipc": 3,
    "difference": 0.0425,
    "seeds_low": 0.03,
    "seeds_high": 0.055,
    "images_low": -0.001,
    "images_high": 0.086,
    "seeds": 2,
}
CHECKS = {
    "codebooks": 4,
    "w2_squared_minus_distortion_relative_max": 1.5e-15,
    "mass_minus_uniform_w2_squared_relative_max": -0.25,
}
REPORT = {
    "recipe": {"name": "a & b", "methods": ["ddoq", "random"], "train": {"protocol": "small"}},
    "rows": [ROW, {**ROW, "method": "full", "ipc": None, "seeds": 1}],
    "split": "test",
    "comparisons": [],
    "predicts": [],
    "warnings": [],
    "images": {"train": 90, "test": 10, "left_out": 0},
    "checks": CHECKS,
    "teacher": {"model": "convnet", "top1": 0.9, "warning": 'classes "1" < 2'},
    "stages": [{"title": "codec", "parts": 1, "wall_s": 1.25, "work_s": 2.5, "peak_memory_bytes": 3 * 2**20}],
    "environment": {"processor": "<script>alert(1)</script>", "processors": 2, "workers": None},
}
PICTURES = ["accuracy.png", "images-ipc1.png", "images-ipc10.png"]


def test_the_page_holds_what_is_measured():
    page = render(REPORT, PICTURES)
    cells = page.replace("\n", "")
    top1 = "<td>0.5000 ± 0.1250</td><td>0.375 to 0.625</td>"
    assert (
        f"<td>ddoq</td><td>fixed</td><td>3</td>{top1}<td>0.6250</td><td>0.7500</td><td>2</td><td>2.5</td><td>2.0 KiB</td>"
        in cells
    )
    assert "<td>1.5000</td><td></td>" in cells
    assert "<td>full</td><td>fixed</td><td>all</td><td>0.5000</td>" in cells
    assert "<td>codec</td><td>1</td><td>1.2</td><td>2.5</td><td>3</td>" in cells
    assert "Over 4 codebooks" in page
    assert "at most 1.5e-15 (zero in exact arithmetic)" in page
    assert "a cluster of workers" in page
    assert page.index("images-ipc10.png") < page.index("images-ipc1.png"), "the largest budget first"
    assert "weights.png" not in page


def test_what_is_put_into_html_is_escaped():
    page = render(REPORT, PICTURES)
    assert "<title>a &amp; b</title>" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;i&gt;net" in page
    assert "<script>" not in page
    assert "&lt; 2" in page
    assert environment().from_string("{{ x }}").render(x="a & b") == "a & b", "a card is Markdown"


def test_without_codebooks_nothing_is_said_of_them():
    report = {**copy.deepcopy(REPORT), "checks": {**CHECKS, "codebooks": 0}, "teacher": None}
    page = render(report, PICTURES)
    assert "codebooks" not in page
    assert "No teacher labels here." in page


def test_what_is_missing_is_an_error_and_the_bytes_are_always_the_same():
    assert render(REPORT, PICTURES) == render(copy.deepcopy(REPORT), tuple(PICTURES))
    with pytest.raises(UndefinedError):
        render({**REPORT, "rows": [{**ROW, "row": 1} | {"method": "ddoq"}], "recipe": {"name": "x", "methods": []}}, PICTURES)


def test_what_decides_stands_under_the_table():
    """Images left out; decoded images that are farther from the data than random real ones, though their codes are nearer."""
    random = {**ROW, "method": "random", "w2_codes": 2.0, "distances": {"latent": 2.0}}
    far, near = {**ROW, "distances": {"latent": 2.5}}, {**ROW, "distances": {"latent": 1.75}}
    bad = {**REPORT, "rows": [far, random], "images": {"train": 9_990, "test": 10, "left_out": 1_200}}
    said = decides(bad)
    assert said[1].startswith("1,200 of 10,000 images are left out")
    assert said[2].startswith("At 3 images per class decoding costs ddoq more than its codes gain: W₂ is 1.500 before")
    assert len(said) == 3
    page = render(bad, PICTURES)
    assert "1,200 of 10,000 images are left out" in page
    assert "decoding costs ddoq more" in page
    assert len(decides({**REPORT, "rows": [near, random]})) == 1
    assert decides({**REPORT, "rows": [{**far, "w2_codes": 2.25}, random]}) == decides(REPORT), "codes no nearer either"
    assert decides({**REPORT, "rows": [far], "teacher": None}) == []


def test_codes_and_decoded_images_are_compared_in_one_space():
    """Distances among features, of which latents have a hundred times the length."""
    random = {**ROW, "method": "random", "w2_codes": 2.0, "distances": {"latent": 200.0, "features": 2.0}}
    nearest = {**ROW, "method": "nearest", "w2_codes": 1.5, "distances": {"latent": 150.0, "features": 1.5}}
    far = {**ROW, "w2_codes": 1.0, "distances": {"latent": 100.0, "features": 2.5}}
    metrics = {**REPORT, "rows": [far, nearest, random]}
    (_, said) = decides({**metrics, "space": "features"})
    assert "decoding costs ddoq more than its codes gain: W₂ is 1.000 before decoding, 2.500 after, and 2.000 of random" in said
    assert "<td>2.5000</td>" in render({**metrics, "space": "features"}, PICTURES)
    assert decides({**metrics, "space": "noise"}) == decides(REPORT)


def test_what_the_teacher_recognizes_is_said_at_the_largest_budget():
    several = [("ddoq", 1, 0.5), ("ddoq", 3, 0.75), ("random", 3, 1.0), ("full", None, 1.0), ("ddoq-sqrt", 3, None)]
    rows = [{**ROW, "method": method, "ipc": ipc, "recognized": share} for method, ipc, share in several]
    said = "Images that the teacher takes for their class, at 3 per class: ddoq 0.750, random 1.000."
    assert decides({**REPORT, "rows": rows})[1] == said
    assert said in render({**REPORT, "rows": rows}, PICTURES)


def test_the_highest_mean_of_a_budget_and_regime_is_bold():
    rows = [{**ROW, "method": method, "labels": labels, "top1_mean": mean} for method, labels, mean in BOLD]
    page = render({**REPORT, "rows": rows}, PICTURES)
    assert [float(found) for found in re.findall(r"<td><b>([.0-9]+) ±", page)] == [0.5, 0.75]
    assert page.count("<tbody>") == 2
    table = accuracies({**REPORT, "rows": rows})
    assert [str(cell.style) for cell in table.columns[3]._cells] == ["", "bold", "bold", ""]  # type: ignore[union-attr]


BOLD = [("ddoq", "hard", 0.25), ("random", "hard", 0.5), ("ddoq", "fixed", 0.75), ("random", "fixed", 0.5)]


def test_comparisons_are_told_with_both_intervals_and_what_they_say():
    report = {**REPORT, "comparisons": [COMPARISON, {**COMPARISON, "images_low": 0.01, "ipc": None}]}
    page = render(report, [*PICTURES, "comparisons.png"]).replace("\n", "")
    assert "<td>ddoq − random</td><td>fixed</td><td>3</td><td>+4.2</td><td>+3.0 to +5.5</td><td>-0.1 to +8.6</td>" in page
    assert '<td class="text">not told apart</td>' in page
    assert '<td class="text">ddoq is better</td>' in page
    assert 'src="comparisons.png"' in page
    assert "What the recipe compares" not in render(REPORT, PICTURES)
    assert compared(REPORT) is None
    table = compared(report)
    assert table is not None
    assert table.row_count == 2


def test_a_verdict_takes_both_intervals():
    better = {**COMPARISON, "images_low": 0.01}
    assert verdict(better) == "ddoq is better"
    turned = {key.replace("low", "x").replace("high", "low").replace("x", "high"): better[key] for key in better}
    worse = {key: -value if "_" in key else value for key, value in turned.items()}
    assert verdict(worse) == "random is better"
    assert verdict({**better, "seeds_low": -0.001}) == "not told apart"
    one = {**better, "seeds_low": None, "seeds_high": None, "seeds": 1}
    assert verdict(one) == "ddoq is better, of one seed"


def test_warnings_stand_under_the_table_and_on_the_page():
    report = {**REPORT, "warnings": ["few & far"]}
    assert decides(report)[-1] == "few & far"
    assert "few &amp; far" in render(report, PICTURES)


def test_rank_correlations_are_told():
    predicts = [{"space": "features", "labels": "hard", "ipc": None, "sets": 6, "rank_correlation": -0.875}]
    page = render({**REPORT, "predicts": predicts}, [*PICTURES, "distances.png"])
    assert "<td>features</td><td>hard</td><td>any</td><td>6</td><td>-0.88</td>" in page
