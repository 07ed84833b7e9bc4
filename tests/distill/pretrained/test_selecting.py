"""Codes of latents that a pretrained codec made: medoids, classes of few images, streams of shards."""

import numpy as np
import pytest

import quantization as qz
from distill.stages.space import flat
from tests.distill.pretrained.parts import made


def test_medoids_are_images_with_the_masses_of_their_cells(table, tmp_path):

    store, stages = made(table, tmp_path, "select", "select.medoids=true")
    for index, part in enumerate(stages["select"].parts()):
        latents = flat(stages["encode"].latents(store, index))
        tensors = store.tensors(stages["select"], part)
        points, weights = tensors["k2.seed0.points"].numpy(), tensors["k2.seed0.weights"].numpy()
        assert all((latents == point).all(1).any() for point in points)
        np.testing.assert_array_equal(weights, qz.DiscreteMeasure(latents).project(points).weights)


def test_a_class_of_fewer_images_than_codes_gets_as_many_as_it_has_and_the_manifest_says_so(table, tmp_path):
    store, stages = made(table, tmp_path, "select", "select.k=[2, 9]", "select.shares={n02102040=0.5}")
    select = stages["select"]
    sizes = [[len(store.tensors(select, p)[f"k{k}.seed0.points"]) for k in (2, 9)] for p in select.parts()]
    assert sizes == [[2, 5], [1, 4], [2, 5]]
    # Half of 9 is 4.5, and the even neighbour 4 is what the second class has; the others have 5 of 9.
    assert select.summary(store) == {"capped": {"n01440764": 5, "n03126707": 5}}


@pytest.mark.parametrize(
    "changes", [(), ("select.medoids=true",), ("select.solver=clvq", "select.streaming=true", "select.batch=4")]
)
def test_a_class_of_one_image_again_and_again_gets_as_many_codes_as_differ(table, tmp_path, photos, changes):
    """Burst shots and copies: five files of two images."""
    tree = photos(tmp_path / "photos", ("n01440764", "n02102040"), 5)
    files = sorted((tree / "train" / "n02102040").iterdir())
    for path in files[2:]:
        path.write_bytes(files[1].read_bytes())
    table["data"]["path"] = str(tree)
    store, stages = made(table, tmp_path / "run", "decode", "select.k=[1, 4]", *changes)
    select = stages["select"]
    sizes = [[len(store.tensors(select, p)[f"k{k}.seed0.weights"]) for k in (1, 4)] for p in select.parts()]
    assert sizes == [[1, 4], [1, 2]]
    assert select.summary(store) == {"capped": {"n02102040": 2}}
    weights = store.tensors(select, select.parts()[1])["k4.seed0.weights"]
    assert sorted(weights.tolist()) == pytest.approx([0.2, 0.8])
    assert len(store.tensors(stages["decode"], select.parts()[1])["k4.seed0.images"]) == 2


def test_streaming_sees_shards_and_weighs_cells_exactly(table, tmp_path, monkeypatch):

    monkeypatch.setattr("distill.stages.space.SHARD", 2)
    changes = ("select.solver=clvq", "select.streaming=true", "select.batch=2", "select.max_iter=40")
    store, stages = made(table, tmp_path, "select", *changes)
    part = stages["select"].parts()[0]
    tensors = store.tensors(stages["select"], part)
    points, weights = tensors["k2.seed0.points"].numpy(), tensors["k2.seed0.weights"].numpy()
    law = qz.DiscreteMeasure(flat(stages["encode"].latents(store, 0)))
    np.testing.assert_allclose(weights, law.project(points).weights, rtol=8 * np.finfo(float).eps)
    best = min(qz.quantize(law, 2, rng=seed).distortion for seed in range(8))
    worst = qz.distortion(law, law.points.mean(0, keepdims=True)).value
    assert qz.distortion(law, points).value < 0.5 * (best + worst)
