"""The page about Imagenette is made of run folders: its tables say what metrics say."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

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
GRAPH = {"names": ["a", "b"], "part_names": ["0000-a", "0001-b"], "stages": [["1", "1", "decode-1", "images nearest", []]]}
PAGE = "# Before\n\n<!-- probe -->\nsuperseded\n<!-- end of probe -->\n\nafter\n"


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run" / "report"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(METRICS))
    (folder.parent / "graphs.json").write_text(json.dumps({"recipe.json": {"graph": GRAPH}}))
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


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_decoded_codes_are_shown_and_real_photographs_are_not(run, rng):
    assert imagenette.decoded(run) is None
    decoding = ["2", "2", "decode-2", "decode diffusion", []]
    graph = GRAPH | {"stages": [*GRAPH["stages"], decoding]}
    (run / "graphs.json").write_text(json.dumps({"recipe.json": {"graph": graph}}))
    (run / "decode-2").mkdir()
    held = {}
    for part in GRAPH["part_names"]:
        draws = {f"k{k}.seed{seed}": rng.integers(0, 255, (k, 3, 4, 4), dtype=np.uint8) for k in (1, 3) for seed in (0, 1)}
        masses = {f"{draw}.weights": np.full(len(images), 1 / len(images)) for draw, images in draws.items()}
        held[part] = draws
        save_file({f"{draw}.images": images for draw, images in draws.items()} | masses, run / "decode-2" / f"{part}.safetensors")
    classes, names = imagenette.decoded(run)
    assert names == ["a", "b"]
    for part, (images, masses) in zip(GRAPH["part_names"], classes, strict=True):
        np.testing.assert_array_equal(images, held[part]["k3.seed0"])
        np.testing.assert_array_equal(masses, np.full(3, 1 / 3))
