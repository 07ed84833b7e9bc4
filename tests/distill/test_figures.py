"""The report's pictures: nothing that is written on them is cut off."""

import warnings

import numpy as np
import pytest
from matplotlib import pyplot as plt

from distill.report import figures


@pytest.mark.parametrize("width", [1, 10])
@pytest.mark.parametrize("names", [["0", "1"], ["cassette player", "English springer"], ["WWWWWWWWWWWWWW", "a"]])
def test_names_of_classes_are_whole_and_clear_of_the_images(monkeypatch, names, width):
    drawn = []
    monkeypatch.setattr(figures, "_png", lambda figure: drawn.append(figure) or b"")
    classes = [(np.zeros((width, 3, 8, 8), np.uint8), np.full(width, 1 / width)) for _ in names]
    figures.sheet(classes, names)
    (figure,) = drawn
    renderer = figure.canvas.get_renderer()
    rows = figure.axes[::width]
    assert [axes.texts[0].get_text().split() for axes in rows] == [name.split() for name in names]
    for axes in rows:
        label, images = axes.texts[0].get_window_extent(renderer), axes.get_window_extent(renderer)
        assert label.x0 >= 0
        assert label.x1 <= images.x0
    plt.close(figure)


def test_names_of_any_script_are_drawn_or_the_class_is_named_by_its_number(monkeypatch):
    """No box in the place of a letter: where no font here has it, ``class <number>`` stands there. Nor is a name mathematics."""
    drawn = []
    monkeypatch.setattr(figures, "_png", lambda figure: drawn.append(figure) or b"")
    names = ["чашка", "$5 note", "a_b^c$", "\U00013000\U00010330\U0001e900"]  # hieroglyphs, Gothic and Adlam in one name
    figures.sheet([(np.zeros((1, 3, 8, 8), np.uint8), np.ones(1)) for _ in names], names)
    (figure,) = drawn
    shown = [" ".join(axes.texts[0].get_text().split()) for axes in figure.axes]
    assert shown == [*names[:3], "class 3"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()
    plt.close(figure)


def test_the_real_images_stand_below_in_the_order_of_their_codes(monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "_png", lambda figure: drawn.append(figure) or b"")
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)
    figures.sheet([(images, np.array([0.2, 0.5, 0.3]))], ["a"], nearest=[images + 10])
    (figure,) = drawn
    shown = [int(axes.images[0].get_array()[0, 0]) for axes in figure.axes]
    assert shown == [1, 2, 0, 11, 12, 10]
    plt.close(figure)


def test_a_comparison_is_a_mark_with_two_intervals(monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "_png", lambda figure: drawn.append(figure) or b"")
    each = {"first": "a_b", "second": "c", "labels": "hard", "ipc": 3, "difference": 0.02, "images_low": 0.0, "images_high": 0.04}
    figures.comparisons(
        [{**each, "seeds_low": 0.01, "seeds_high": 0.03}, {**each, "seeds_low": None, "seeds_high": None, "ipc": None}]
    )
    (axes,) = drawn[0].axes
    assert [list(line.get_xdata()) for line in axes.lines[:5]] == [[0, 4], [1, 3], [2], [0, 4], [2]]
    assert axes.get_title(loc="left") == "a_b − c"
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["3 per class", "all images"]
    plt.close(drawn[0])


def test_a_panel_a_space_that_was_measured(monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "_png", lambda figure: drawn.append(figure) or b"")
    row = {
        "method": "ddoq",
        "labels": "hard",
        "ipc": 3,
        "top1_mean": 0.5,
        "distances": {"latent": 1.5, "features": None, "pixels": 2.0},
    }
    figures.distances([row, {**row, "ipc": None}, {**row, "method": "x", "labels": "fixed"}], "test")
    assert [axes.get_xlabel() for axes in drawn[0].axes] == ["W₂, latent", "W₂, pixels"]
    assert [len(axes.lines) for axes in drawn[0].axes] == [2, 2]
    plt.close(drawn[0])


def test_regimes_of_labels_have_a_panel_each_and_methods_one_colour(monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "_png", lambda figure: drawn.append(figure) or b"")
    row = {"ipc": 3, "top1_mean": 0.5, "top1_std": 0.1}
    sets = [("mine", "online"), ("random", "hard"), ("full", "hard"), ("mine", "hard")]
    figures.accuracy(
        [{**row, "method": name, "labels": labels, "ipc": None if name == "full" else 3} for name, labels in sets], "test"
    )
    left, right = drawn[0].axes
    assert [axes.get_title() for axes in (left, right)] == ["online labels", "hard labels"]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["full (all images)", "random", "mine"]
    colours = [
        dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))["mine"].lines[0].get_color() for axes in (left, right)
    ]
    assert colours[0] == colours[1]
    plt.close(drawn[0])
