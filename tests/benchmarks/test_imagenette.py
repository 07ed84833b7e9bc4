"""The page about Imagenette is made of run folders: its tables say what metrics say."""

import json

import pytest

from benchmarks import imagenette

ROWS = [
    {
        "method": method,
        "labels": "hard",
        "ipc": k,
        "top1_mean": mean,
        "top1_low": mean - 0.01,
        "top1_high": mean + 0.01,
        "top1_std": 0.01,
        "seeds": 5,
    }
    for method, k, mean in (("ddoq", 1, 0.5), ("random", 1, 0.25), ("ddoq", 10, 0.75), ("random", 10, 0.8), ("full", None, 0.9))
]
COMPARISONS = [
    {"first": "ddoq", "second": "random", "labels": "hard", "ipc": k, "difference": (low + high) / 2, "seeds_low": low}
    | {"seeds_high": high, "images_low": low / 2, "images_high": high}
    for k, low, high in ((1, 0.2, 0.3), (10, -0.1, 0.02))
]
METRICS = {"rows": ROWS, "comparisons": COMPARISONS, "predicts": [], "split": "test"}
PAGE = "# Before\n\n<!-- probe -->\nsuperseded\n<!-- end of probe -->\n\nafter\n"


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run" / "report"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(METRICS))
    return folder.parent


def test_tables_hold_the_figures_in_per_cent_with_the_best_in_bold():
    text = imagenette.tables(METRICS)
    assert "| `ddoq` | **50.00** ± 1.00 | 75.00 ± 1.00 |" in text
    assert "| `random` | 25.00 ± 1.00 | **80.00** ± 1.00 |" in text
    assert "| `full`: all images | 90.00 ± 1.00 | |" in text
    assert "| `ddoq` | `random` | hard | 1 | **+25.00** | +20.00 to +30.00 | +10.00 to +30.00 |" in text
    assert "| `ddoq` | `random` | hard | 10 | -4.00 | -10.00 to +2.00 | -5.00 to +2.00 |" in text


def test_a_page_gets_them_between_its_lines(run, tmp_path, capsys):
    (tmp_path / "docs" / "results").mkdir(parents=True)
    (tmp_path / "docs" / "pictures").mkdir()
    page = tmp_path / "docs" / "results" / "imagenette.md"
    page.write_text(PAGE)
    assert imagenette.main([f"probe={run}", "--write", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("# Before\n\n<!-- probe -->\n")
    assert text.endswith("<!-- end of probe -->\n\nafter\n")
    assert "superseded" not in text
    assert "**50.00**" in text
    assert (tmp_path / "docs" / "pictures" / "imagenette-probe-accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert imagenette.main([f"probe={run}", "--write", str(page)]) == 0
    assert page.read_text() == text
    assert imagenette.main([f"other={run}", "--write", str(page)]) == 2
    assert "has no lines <!-- other -->" in capsys.readouterr().err


def test_a_folder_without_a_finished_run_is_said(tmp_path, capsys):
    assert imagenette.main([f"probe={tmp_path}"]) == 2
    assert "holds no finished run" in capsys.readouterr().err
