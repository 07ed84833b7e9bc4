"""Features of a network as the space of codes: two finished tiny runs, what they hold recomputed; refusals."""

import copy
import json
import tomllib
from importlib import resources
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn

import quantization as qz
from distill.graph import build
from distill.images import Held
from distill.pipeline.store import Store
from distill.recipe import RecipeError, read
from distill.stages.draw import Draw
from distill.stages.evidence import unlike_training
from distill.stages.features import FeaturesStage
from distill.stages.real_selection import apportioned

EPS = float(np.finfo(float).eps)
DIGITS = (resources.files("distill") / "recipes" / "digits.toml").read_text(encoding="utf-8")
DECODED = (
    'methods=["ddoq", "balanced", "nearest-mass", "counts", "stratified", "stratified-mass", "random-decoded"]',
    'distances=["latent", "features", "pixels"]',
    "codec.channels=[4, 4]",
    "codec.steps=3",
    "prior.layers=1",
    "prior.steps=3",
    "decode.steps=4",
    "train.width=4",
    "train.steps=2",
    'train.labels="hard"',
    "train.evaluations=1",
)
DRAWS = [Draw(k, seed) for k in (1, 4) for seed in (0, 1)]


@pytest.fixture(scope="session")
def decoded(made, features_changes):
    """A run whose codes are features, and become images by the prior."""
    return made("features", read("digits", [*features_changes, *DECODED]))


def space(run):
    return run.stages["components"]


# The space


def test_components_are_those_of_a_singular_value_decomposition(decoded):
    raw = np.concatenate([decoded.stages["features train"].points(decoded.store, c) for c in range(10)])
    points = np.concatenate([space(decoded).points(decoded.store, c) for c in range(10)])
    _, lengths, directions = np.linalg.svd(raw - raw.mean(0), full_matrices=False)
    expected = (raw - raw.mean(0)) @ directions[:6].T
    signs = np.sign((expected * points).sum(0))
    # Directions turn by round-off over the gap between eigenvalues of the covariance.
    gap = np.diff(-(lengths[:7] ** 2)).min()
    assert gap > 0
    np.testing.assert_allclose(points, expected * signs, atol=1e4 * EPS * lengths[0] ** 2 / gap * lengths[0])
    about = decoded.store.values(space(decoded), "components")
    assert about["kept"] == pytest.approx((lengths[:6] ** 2).sum() / (lengths**2).sum(), rel=1e4 * EPS)
    assert about["scale"] == pytest.approx(np.square(points).mean() ** 0.5, rel=1e4 * EPS)


def test_whitened_components_have_unit_variance(made, features_changes, probe_table):
    run = made("whitened", read(probe_table, [*features_changes, "features.whiten=true", 'methods=["random"]']))
    points = np.concatenate([space(run).points(run.store, c) for c in range(10)])
    about = run.store.values(space(run), "components")
    assert about["scale"] == 1
    covariance = points.T @ points / len(points)
    np.testing.assert_allclose(covariance, np.eye(6), atol=1e-6)  # of features in float32


# What is selected


def selected(run, title, part="0003-three"):
    return run.store.tensors(run.stages[title], part)


def test_nearest_images_have_the_masses_of_their_own_cells(decoded):
    points, found = space(decoded).points(decoded.store, 3), selected(decoded, "select nearest")
    for draw in DRAWS:
        chosen = points[draw.of(found, "indices").numpy()]
        labels = np.square(points[:, None] - chosen).sum(2).argmin(1)
        masses = np.bincount(labels, minlength=draw.k) / len(points)
        np.testing.assert_allclose(draw.of(found, "weights").numpy(), masses, atol=EPS)


def test_balanced_codes_come_with_an_optimal_plan(decoded):
    points, found = space(decoded).points(decoded.store, 3), selected(decoded, "select balanced")
    for draw in DRAWS:
        codes = draw.of(found, "points").numpy()
        rows, cells, masses = (draw.of(found, f"plan_{name}").numpy() for name in ("rows", "codes", "masses"))
        np.testing.assert_allclose(np.bincount(rows, masses, len(points)), 1 / len(points), atol=4 * EPS)
        np.testing.assert_allclose(np.bincount(cells, masses, draw.k), 1 / draw.k, atol=1e-9 / draw.k)
        cost = (masses * np.square(points[rows] - codes[cells]).sum(1)).sum()
        # Copies of points and codes, so that both sides have equal weights: an assignment.
        costs = np.square(np.repeat(points, draw.k, 0)[:, None] - np.repeat(codes, len(points), 0)).sum(2)
        assert cost == pytest.approx(costs[linear_sum_assignment(costs)].mean(), rel=1e-9)
        assert cost == pytest.approx(qz.wasserstein(qz.DiscreteMeasure(points), qz.DiscreteMeasure(codes)) ** 2, rel=1e-9)


def test_counts_are_shares_of_the_masses(decoded):
    points, codes, found = (
        space(decoded).points(decoded.store, 3),
        selected(decoded, "select quantize"),
        selected(decoded, "select counts"),
    )
    for draw in DRAWS:
        centres, indices = draw.of(codes, "points").numpy(), draw.of(found, "indices").numpy()
        assert len(set(indices.tolist())) == len(indices) == draw.k
        squared = np.square(points[:, None] - centres).sum(2)
        labels = squared.argmin(1)
        counts = np.bincount(labels, minlength=draw.k)
        taken = np.bincount(labels[indices], minlength=draw.k)
        assert (np.abs(taken - draw.k * counts / len(points)) < 1).all()
        for k in range(draw.k):  # the nearest of the cell
            inside = np.sort(squared[labels == k, k])
            np.testing.assert_allclose(np.sort(squared[indices[labels[indices] == k], k]), inside[: taken[k]], rtol=8 * EPS)


@pytest.mark.parametrize("seed", range(20))
def test_slots_are_apportioned_by_largest_remainders(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 50, rng.integers(1, 12))
    slots = int(rng.integers(1, counts.sum() + 1))
    given = apportioned(counts, slots)
    assert given.sum() == slots
    quotas = slots * counts / counts.sum()
    assert ((given == np.floor(quotas)) | (given == np.floor(quotas) + 1)).all()
    rest = quotas - np.floor(quotas)
    up = given > np.floor(quotas)
    assert not up.any() or rest[up].min() >= rest[~up].max(initial=0) - 1e-12
    assert (given <= counts).all()


@pytest.mark.parametrize(
    ("title", "of"), [("select stratified", "select balanced"), ("select stratified-mass", "select quantize")]
)
def test_strata_have_one_image_each(decoded, title, of):
    points, codes, found = space(decoded).points(decoded.store, 3), selected(decoded, of), selected(decoded, title)
    for draw in DRAWS:
        indices, weights = draw.of(found, "indices").numpy(), draw.of(found, "weights").numpy()
        if of == "select balanced":
            rows, cells = (draw.of(codes, f"plan_{name}").numpy() for name in ("rows", "codes"))
            held = [set(rows[cells == k].tolist()) for k in range(draw.k)]
            np.testing.assert_allclose(weights, 1 / draw.k, atol=1e-9)
        else:
            labels = np.square(points[:, None] - draw.of(codes, "points").numpy()).sum(2).argmin(1)
            held = [set(np.flatnonzero(labels == k).tolist()) for k in range(draw.k)]
            np.testing.assert_allclose(weights, np.bincount(labels, minlength=draw.k) / len(points), atol=4 * EPS)
        assert all(index in inside for index, inside in zip(indices.tolist(), held, strict=True))


# What codes become


def test_decoding_starts_at_the_mean_of_the_members_latents(decoded):
    points, latents = space(decoded).points(decoded.store, 3), decoded.stages["encode"].points(decoded.store, 3)
    codes, start = selected(decoded, "select quantize"), selected(decoded, "latents quantize")
    for draw in DRAWS:
        labels = np.square(points[:, None] - draw.of(codes, "points").numpy()).sum(2).argmin(1)
        expected = np.stack([latents[labels == k].mean(0) for k in range(draw.k)])
        np.testing.assert_allclose(draw.of(start, "points").numpy(), expected, atol=len(latents) * EPS * np.abs(latents).max())
        np.testing.assert_array_equal(draw.of(start, "weights").numpy(), draw.of(codes, "weights").numpy())


def test_members_of_codes_of_equal_masses_are_those_of_their_plan(decoded):
    latents = decoded.stages["encode"].points(decoded.store, 3)
    codes, start = selected(decoded, "select balanced"), selected(decoded, "latents balanced")
    for draw in DRAWS:
        plan = np.zeros((draw.k, len(latents)))
        rows, cells, masses = (draw.of(codes, f"plan_{name}").numpy() for name in ("rows", "codes", "masses"))
        plan[cells, rows] = masses
        expected = plan @ latents / plan.sum(1, keepdims=True)
        np.testing.assert_allclose(draw.of(start, "points").numpy(), expected, atol=len(latents) * EPS * np.abs(latents).max())


def test_images_that_are_chosen_are_counted(decoded):
    stage = decoded.stages["select nearest"]
    found = [draw.tensors(indices=torch.arange(min(draw.k, 3)), weights=torch.ones(min(draw.k, 3))) for draw in DRAWS]
    store = SimpleNamespace(tensors=lambda stage, part: {key: value for each in found for key, value in each.items()})
    assert stage.summary(store)["capped"] == dict.fromkeys(stage.data.classes, 3)


def test_random_images_are_decoded_from_their_own_latents(decoded):
    latents, chosen = decoded.stages["encode"].points(decoded.store, 3), selected(decoded, "select random")
    start = selected(decoded, "latents random")
    for draw in DRAWS:
        np.testing.assert_array_equal(draw.of(start, "points").numpy(), latents[draw.of(chosen, "indices").numpy()])


def test_distances_are_exact_in_every_space(decoded):
    data, index, part = next(iter(decoded.stages.values())).data, 3, "0003-three"
    real = data.train.read(data.train.of_class(index))
    images = selected(decoded, "decode diffusion")
    encode, features = decoded.stages["encode"], space(decoded)
    for draw in DRAWS:
        found = decoded.store.values(decoded.stages["distances ddoq"], part)[draw.name]["images"]
        shown, weights = draw.of(images, "images"), draw.of(images, "weights").numpy()
        sides = {
            "pixels": (real.reshape(len(real), -1) / 255, shown.numpy().reshape(draw.k, -1) / 255),
            "latent": (encode.points(decoded.store, index), draw.of(images, "latents").numpy()),
            "features": (features.points(decoded.store, index), features.of_images(decoded.store, shown)),
        }
        for name, (law, codes) in sides.items():
            expected = qz.wasserstein(qz.DiscreteMeasure(law), qz.DiscreteMeasure(codes, weights)) ** 2
            assert found[name] == pytest.approx(expected, rel=1e-9), name


def test_features_of_images_do_not_depend_on_who_else_is_asked_for(decoded):
    data = next(iter(decoded.stages.values())).data
    images = torch.from_numpy(data.train.read(data.train.of_class(3)))
    found = space(decoded).of_images(decoded.store, images)
    # float32 sums in batches of another size: a few thousand roundings of the largest.
    np.testing.assert_allclose(found, space(decoded).points(decoded.store, 3), atol=4096 * 2.0**-24 * np.abs(found).max())


# The probe


def test_a_probe_is_the_best_classifier_of_its_weighted_codes(probed):
    features = [space(probed).points(probed.store, c) for c in range(10)]
    scale = np.square(np.concatenate(features)).mean() ** 0.5
    test = [space(probed).project(probed.store, probed.stages["features test"].points(probed.store, c)) for c in range(10)]
    stage, draw = probed.stages["probe ddoq"], Draw(4, 1)
    codes = [selected(probed, "select quantize", part) for part in stage.data.part_names]
    points = np.concatenate([draw.of(each, "points").numpy() for each in codes]) / scale
    weights = np.concatenate([4 * draw.of(each, "weights").numpy() for each in codes])
    found, values = probed.store.tensors(stage, draw.name), probed.store.values(stage, draw.name)
    matrix, bias = found["matrix"].numpy() * scale, found["bias"].numpy()
    logits = points @ matrix.T + bias
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    errors = weights[:, None] / len(points) * (shares - np.repeat(np.eye(10), 4, 0))
    assert np.abs(errors.T @ points + stage.section.ridge * matrix).max() < 1.1e-6  # the gradient of a convex function
    assert np.abs(errors.sum(0)).max() < 1.1e-6
    wanted = np.repeat(np.arange(10), [len(rows) for rows in test])
    right = (np.concatenate(test) / scale @ matrix.T + bias).argmax(1) == wanted
    np.testing.assert_array_equal(found["right"].numpy(), right)
    assert values["top1"] == pytest.approx(right.mean(), abs=EPS)


def test_rows_of_probes_say_what_they_are(probed):
    rows = json.loads((probed.folder / probed.stages["evaluate"].folder_name / "metrics.json").read_bytes())["rows"]
    assert {row["student"] for row in rows} == {"logistic regression, ridge 0.01"}
    assert all(row["distances"]["features"] is not None and row["distances"]["pixels"] is None for row in rows)
    by_method = {(row["method"], row["ipc"]): row for row in rows}
    assert by_method["ddoq", 4]["w2_codes"] <= by_method["uniform", 4]["w2_codes"]
    assert by_method["full", None]["w2_codes"] == 0


def test_every_stage_is_there_once(probed, decoded, features_changes):
    both = read("digits", [*features_changes, *DECODED, 'methods=["random", "random-decoded", "nearest", "nearest-mass"]'])
    for recipe in (probed.recipe, decoded.recipe, both):
        folders = [stage.folder_name for stage in build(recipe)]
        assert len(set(folders)) == len(folders)


def test_probes_of_all_images_have_features_and_no_copy_of_the_images(features_changes, probe_table):
    asked = [*features_changes, 'methods=["random", "full"]']
    kinds = [stage.title for stage in build(read(probe_table, asked))]
    assert "images random" in kinds
    assert "images all" not in kinds
    assert "images all" in [stage.title for stage in build(read(probe_table, [*asked, 'train.labels=["hard", "fixed"]']))]


def test_the_images_of_draws_are_read_once_each(decoded, monkeypatch):
    stage, part = decoded.stages["images nearest"], "0003-three"
    reading, seen = Held.read, []
    monkeypatch.setattr(Held, "read", lambda self, rows, size=None: (seen.extend(rows.tolist()), reading(self, rows, size))[1])
    made = stage.make(part, decoded.store, lambda done: None)[f"{part}.safetensors"]
    assert len(seen) == len(set(seen))
    monkeypatch.undo()
    chosen, train = decoded.store.tensors(stage.select, part), stage.data.train
    for draw in DRAWS:
        expected = train.read(train.of_class(3)[draw.of(chosen, "indices").numpy()])
        np.testing.assert_array_equal(draw.of(made, "images").numpy(), expected)
        np.testing.assert_array_equal(draw.of(made, "weights").numpy(), draw.of(chosen, "weights").numpy())


def test_figures_of_other_budgets_are_made_again():
    table = ['train.labels=["hard", "fixed"]', "train.only.fixed.k=[4]"]
    recipes = [read("digits", ["select.k=[1, 4]", *table]), read("digits", ["select.k=[1, 4]", *table, "train.only.fixed.k=[1]"])]
    first, second = ({stage.title: stage for stage in build(recipe)} for recipe in recipes)
    assert first["train ddoq, fixed"].digest == second["train ddoq, fixed"].digest
    assert first["evaluate"].digest != second["evaluate"].digest


# Refusals


@pytest.mark.parametrize(
    ("featured", "changes", "said"),
    [
        (False, ['select.space="features"'], r"needs the section \[features\]"),
        (True, ["features.layer=nowhere"], "features.layer = 'nowhere' is no layer of the network"),
        (
            False,
            ['select.space="features"', 'features.source="teacher"', "features.layer=nowhere"],
            "features.layer = 'nowhere' is no layer of the network",
        ),
        (True, ["features.components=9999"], "features.components = 9999, but the network gives .* features"),
        (True, ["features.image_size=32"], "features.image_size = 32, but these images exist only at data.size = 16"),
        (True, ["features.center=false"], "center = false takes no mean off"),
        (False, ['features.source="teacher"', "features.whiten=true"], "whiten divides principal comp"),
        (True, ['methods=["balanced"]', "select.medoids=true"], "leave select.medoids, or those methods, out"),
        (False, ['codec.source="none"'], "leaves no space but features"),
        (False, ['distances=["features"]'], r"distances names features; the section \[features\]"),
    ],
)
def test_what_does_not_fit_is_refused_before_work(features_changes, featured, changes, said):
    table = tomllib.loads(DIGITS)
    if changes[0].startswith("codec"):
        table["codec"] = {}
    with pytest.raises(RecipeError, match=said):
        build(read(table, [*(features_changes if featured else ()), *changes]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (['select.space="latent"'], "learns from features"),
        (['train.labels="fixed"'], "fixed labels are the teacher's of images, and ddoq is learned from as codes"),
        (['train.labels="online"'], "'online' are of augmented images, and it sees none"),
        (
            ['methods=["random-decoded"]', "features.image_size=64"],
            "compares images of random-decoded, of data.size = 16, with real ones read at features.image_size = 64",
        ),
        (['methods=["random-decoded"]'], "decodes nothing; leave out the method random-decoded"),
    ],
)
def test_a_probe_that_does_not_fit_is_refused(features_changes, probe_table, changes, said):
    with pytest.raises(RecipeError, match=said):
        build(read(probe_table, [*features_changes, 'methods=["ddoq"]', *changes]))


def test_a_teacher_is_not_fed_images_of_a_size_that_it_was_not_trained_on(decoded, features_changes):
    recipe, network = read("digits", [*features_changes, "features.image_size=32"]), decoded.stages["features train"].network
    with pytest.raises(RecipeError, match=r"image_size = 32, but the teacher is trained on images of data.size = 16"):
        FeaturesStage(recipe, SimpleNamespace(size=16, train=None), None, network, "train")


def test_a_network_that_takes_no_such_images_is_refused(decoded):
    stage = copy.copy(decoded.stages["features train"])
    stage.__dict__.pop("entries", None)
    stage.network = SimpleNamespace(shape=(1, 2, 2), untrained=lambda: nn.Sequential(nn.Conv2d(1, 1, 3), nn.Linear(1, 1)))
    with pytest.raises(RecipeError, match=r"the network of \[features\] takes no images of 2 pixels a side: .*[Kk]ernel"):
        _ = stage.entries


def test_a_shard_without_readable_images_has_no_features(decoded, monkeypatch):
    stage = decoded.stages["features train"]
    monkeypatch.setattr(type(stage), "positions", lambda self, read, shard: np.zeros(0, np.int64))
    made = stage.make("0003-three-0", decoded.store, lambda done: None)["0003-three-0.safetensors"]
    assert made["features"].shape == (0, stage.entries)


def test_constant_features_and_a_teacher_at_chance_are_said(probed, monkeypatch):
    stage = space(probed)
    monkeypatch.setattr(type(stage.features), "shard_points", lambda self, read, shard: np.ones((5, self.entries)))
    with pytest.raises(ValueError, match="all images have the same features"):
        stage.make("components", probed.store, lambda done: None)
    monkeypatch.undo()
    values = Store.values
    monkeypatch.setattr(
        Store, "values", lambda self, of, part: values(self, of, part) | ({"warning": "at chance"} if part == "teacher" else {})
    )
    with pytest.raises(ValueError, match=r"at chance. Its features say as little: train it longer"):
        stage.features.make("0003-three-0", probed.store, lambda done: None)


def test_a_network_fed_otherwise_than_in_its_training_is_refused_or_said(decoded, monkeypatch):
    stage = space(decoded).features
    monkeypatch.setattr(type(stage), "inputs_off", lambda self, read: 137.2)
    with pytest.raises(
        ValueError, match=r"fed images that are 137 standard deviations off those of its training.*the mean and deviation"
    ):
        stage.make(stage.parts()[0], decoded.store, lambda done: None)
    monkeypatch.setattr(type(stage), "inputs_off", lambda self, read: 0.63)
    first, second = stage.parts()[:2]
    assert stage.make(first, decoded.store, lambda done: None)[f"{first}.json"] == {"inputs_off": 0.63}
    assert stage.make(second, decoded.store, lambda done: None)[f"{second}.json"] == {"inputs_off": None}
    values = Store.values
    monkeypatch.setattr(
        Store, "values", lambda self, of, part: values(self, of, part) | ({"inputs_off": 0.63} if of is stage else {})
    )
    metrics = decoded.stages["evaluate"].make("metrics", decoded.store, lambda done: None)["metrics.json"]
    assert any("0.6 standard deviations off those of its training" in said for said in metrics["warnings"])


@pytest.mark.parametrize("off", [None, 0.0, 0.3])
def test_a_network_fed_as_in_its_training_is_not_warned_of(off):
    assert unlike_training(off) == []
