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
