"""Points are found again by all their coordinates."""

import numpy as np

from quantization.compiled.places import Places


def test_points_are_found_where_many_coordinates_are_shared(rng):
    """As the dark corners of images are, and zeros of either sign."""
    points = np.zeros((200, 300), np.float32)
    points[:, 100:200] = rng.integers(0, 2, (200, 100))
    points[3] = points[7]
    places = Places(points)
    found = places.of(-0.0 - -points[[7, 150, 3]].astype(np.float64))
    np.testing.assert_array_equal(points[found], points[[7, 150, 3]])
    assert places.of(points[:3] + 0.5) is None


def test_sparse_points_are_found_at_once(rng):
    """Few of their coordinates differ from zero, so that some of these tell nothing."""
    points = np.zeros((300, 4096), np.float32)
    points[np.arange(300)[:, None], rng.integers(0, 4096, (300, 3))] = rng.standard_normal((300, 3))
    places = Places(points)
    assert len(np.unique(places._sorted)) == 300
    np.testing.assert_array_equal(places.of(points[[5, 200]].astype(np.float64)), [5, 200])


def test_points_of_one_mark_are_told_apart(monkeypatch, rng):
    points = rng.standard_normal((50, 8)).astype(np.float32)
    monkeypatch.setattr(Places, "_marks", lambda self, rows: np.full(len(rows), 7, np.uint64))
    places = Places(points)
    np.testing.assert_array_equal(places.of(points[[4, 0, 49]].astype(np.float64)), [4, 0, 49])
    assert places.of(points[:2] + np.float32(1)) is None


def test_points_that_differ_outside_the_columns_looked_at_first_are_told_apart(rng):
    """In few of them; and so many that all columns are looked at, as one by one would take as long as n passes."""
    for alike in (3, 40):
        points = rng.standard_normal((100, 500)).astype(np.float32)
        points[:alike, 200:300] = points[0, 200:300]
        places = Places(points)
        np.testing.assert_array_equal(places.of(points[[2, 0, 99]].astype(np.float64)), [2, 0, 99])
        changed = points[[1]].copy()
        changed[0, 0] += 1
        assert places.of(changed) is None
        assert (len(np.unique(places._sorted)) == 100) == (alike == 40)


def test_codes_that_are_no_points_are_none_wherever_their_marks_lie(rng):
    points = rng.standard_normal((8, 100)).astype(np.float32)
    places = Places(points)
    for code in rng.standard_normal((200, 1, 100)):
        assert places.of(code) is None
    assert places.of(np.concatenate([points[:2], points[:1] + 1])) is None
