"""What a finished run holds: figures, weights, codes, images, report and manifests, recomputed from the files."""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy import stats

import quantization as qz
from distill.stages.train import TrainStage

EPS = float(np.finfo(float).eps)
BUDGETS, SEEDS = (1, 3), (0, 1)


def draw(tensors, k, seed, *names):
    return [tensors[f"k{k}.seed{seed}.{name}"] for name in names]


# What a finished run holds


def test_rows_are_every_method_and_budget_with_fractions(metrics):
    assert [(row["method"], row["ipc"]) for row in metrics["rows"]] == [
        *((method, k) for method in ("ddoq", "uniform", "random", "nearest") for k in BUDGETS),
        ("full", None),
    ]
    for row in metrics["rows"]:
        assert row["student"]
        assert row["seeds"] == len(SEEDS) == len(row["top1"])
        assert 0 <= row["top1_mean"] <= row["best_mean"] <= 1
        assert row["top1_mean"] <= row["top5_mean"] <= 1
        assert all(0 <= value <= 1 for value in row["top1"])
        # Two numbers in [0, 1] have a standard deviation of at most 2^-1/2.
        assert 0 <= row["top1_std"] <= 0.5**0.5 + EPS
        assert np.isfinite(row["w2_codes"])
        assert (row["w2_codes"] > 0) == (row["method"] != "full")


def test_means_and_deviations_are_those_of_the_students(finished, metrics, by_title, tiny):
    for row in metrics["rows"]:
        folder = finished.folder / by_title[f"train {row['method']}"].folder_name
        names = [f"all.seed{s}" if row["ipc"] is None else f"k{row['ipc']}.seed{s}" for s in SEEDS]
        students = [json.loads((folder / f"{name}.json").read_bytes()) for name in names]
        top1 = [student["top1"] for student in students]
        assert row["top1"] == top1
        # Two numbers: their mean and their difference over 2^1/2, a few roundings each.
        assert row["top1_mean"] == pytest.approx(sum(top1) / 2, abs=4 * EPS)
        assert row["top1_std"] == pytest.approx(abs(top1[0] - top1[1]) / 2**0.5, abs=4 * EPS)
        assert row["best_mean"] == pytest.approx(sum(student["best"] for student in students) / 2, abs=4 * EPS)
        for student in students:
            assert student["best"] == max(look["top1"] for look in student["evaluations"])
            assert student["evaluations"][-1] == {"step": tiny.train.steps, "top1": student["top1"], "top5": student["top5"]}
            assert len(student["evaluations"]) == tiny.train.evaluations


def test_accuracies_are_counts_of_the_test_images(metrics, stages):
    n = len(next(stage for stage in stages if isinstance(stage, TrainStage)).data.test.labels)
    for row in metrics["rows"]:
        for value in row["top1"]:
            assert value * n == pytest.approx(round(value * n), abs=4 * n * EPS)


def right(finished, by_title, method, part):
    folder = finished.folder / by_title[f"train {method}"].folder_name
    return load_file(folder / f"{part}.safetensors")["right"], json.loads((folder / f"{part}.json").read_bytes())


def test_students_say_which_test_images_they_are_right_on(finished, by_title, metrics):
    for row in metrics["rows"]:
        for seed, top1 in zip(SEEDS, row["top1"], strict=True):
            part = f"all.seed{seed}" if row["ipc"] is None else f"k{row['ipc']}.seed{seed}"
            hits, values = right(finished, by_title, row["method"], part)
            assert hits.dtype == bool
            assert hits.shape == (360,)
            assert hits.mean() == pytest.approx(top1, abs=EPS)
            assert values["top1"] == top1
        interval = stats.ttest_1samp(row["top1"], 0).confidence_interval(0.95)
        assert (row["top1_low"], row["top1_high"]) == pytest.approx((interval.low, interval.high), rel=1e-9, abs=1e-12)


def test_comparisons_are_those_of_the_recipe(finished, by_title, metrics):
    """From the files alone, with SciPy's paired interval; all images stand beside every budget."""
    named = [(each["first"], each["second"], each["labels"], each["ipc"]) for each in metrics["comparisons"]]
    assert named == [(*pair, "fixed", k) for pair in (("nearest", "random"), ("full", "ddoq")) for k in BUDGETS]
    for each in metrics["comparisons"]:
        scores = []
        for method in (each["first"], each["second"]):
            parts = [f"all.seed{seed}" if method == "full" else f"k{each['ipc']}.seed{seed}" for seed in SEEDS]
            scores.append([right(finished, by_title, method, part)[0].mean() for part in parts])
        first, second = np.array(scores)
        assert each["difference"] == pytest.approx((first - second).mean(), abs=1e-12)
        assert each["seeds"] == 2
        assert each["images_low"] <= each["difference"] <= each["images_high"]
        if np.ptp(first - second) > 0:
            interval = stats.ttest_rel(first, second).confidence_interval(0.95)
            assert (each["seeds_low"], each["seeds_high"]) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_effective_sizes_are_those_of_the_weights(finished, by_title, metrics):
    select = by_title["select quantize"]
    for row in (row for row in metrics["rows"] if row["method"] in ("ddoq", "uniform")):
        sizes = []
        for part in select.parts():
            tensors = load_file(finished.folder / select.folder_name / f"{part}.safetensors")
            for seed in SEEDS:
                (weights,) = draw(tensors, row["ipc"], seed, "weights")
                sizes.append(len(weights) if row["method"] == "uniform" else weights.sum() ** 2 / (weights**2).sum())
        assert row["effective"] == pytest.approx(np.mean(sizes), rel=1e-6)
        assert 1 <= row["effective"] <= row["ipc"] + 1e-9


def test_the_teachers_accuracy_stands_under_every_table(finished, metrics, by_title):
    about = json.loads((finished.folder / by_title["teacher"].folder_name / "teacher.json").read_bytes())
    assert metrics["teacher"] == {key: about[key] for key in ("model", "top1", "warning")}
    said = f"The teacher, convnet, has a top-1 of {about['top1']:.4f} on the test split."
    assert said in " ".join(finished.output.split())
    assert said in (finished.folder / "report" / "index.html").read_text(encoding="utf-8")


def test_cell_masses_turn_the_distance_into_the_distortion_and_equal_weights_never_do_better(finished, by_title, metrics):
    """From the files alone: W₂²(Σ m_k δ_{x_k}) = D(x) ≤ W₂²(Σ δ_{x_k}/K) for every class, budget and seed."""
    encode, select = by_title["encode"], by_title["select quantize"]
    squares = {(k, seed): [] for k in BUDGETS for seed in SEEDS}
    uniforms = {(k, seed): [] for k in BUDGETS for seed in SEEDS}
    for part in select.parts():
        latents = load_file(finished.folder / encode.folder_name / f"{part}-0.safetensors")["latents"]
        x = latents.reshape(len(latents), -1).astype(float)
        law = qz.DiscreteMeasure(x)
        tensors = load_file(finished.folder / select.folder_name / f"{part}.safetensors")
        for k, seed in squares:
            points, weights = draw(tensors, k, seed, "points", "weights")
            assert points.shape == (k, x.shape[1])
            costs = np.square(x[:, None] - points[None]).sum(2)
            labels, distortion = costs.argmin(1), costs.min(1).mean()
            np.testing.assert_allclose(weights, np.bincount(labels, minlength=k) / len(x), atol=(len(x) + 2) * EPS)
            square = qz.wasserstein(law, qz.DiscreteMeasure(points, weights)) ** 2
            uniform = qz.wasserstein(law, qz.DiscreteMeasure(points)) ** 2
            # Costs may be made of |x|² + |y|² − 2 x·y, sums of d terms, rounded relative to the largest norms; the plan's masses
            # sum n terms of rounded weights; all of it twice, as both sides are rounded.
            size = np.square(x).sum(1).max() + np.square(points).sum(1).max()
            slack = 4 * (x.shape[1] + len(x)) * EPS * size
            assert abs(square - distortion) <= slack
            assert square <= uniform + slack
            squares[k, seed].append(square)
            uniforms[k, seed].append(uniform)
    for method, found in (("ddoq", squares), ("uniform", uniforms)):
        for k in BUDGETS:
            row = next(row for row in metrics["rows"] if (row["method"], row["ipc"]) == (method, k))
            expected = np.mean([np.mean(found[k, seed]) ** 0.5 for seed in SEEDS])
            # The same numbers by the same functions: sums of 10 and 2 terms and a root, in any order.
            assert row["w2_codes"] == pytest.approx(expected, rel=20 * EPS)
    checks = metrics["checks"]
    assert checks["codebooks"] == len(squares) * 10
    assert checks["w2_squared_minus_distortion_relative_max"] < 1e-9
    assert checks["mass_minus_uniform_w2_squared_relative_max"] < 1e-9


def test_weights_sum_to_one_and_come_along_unchanged(finished, by_title):
    select, decode = by_title["select quantize"], by_title["decode diffusion"]
    for part in select.parts():
        codes = load_file(finished.folder / select.folder_name / f"{part}.safetensors")
        images = load_file(finished.folder / decode.folder_name / f"{part}.safetensors")
        for k in BUDGETS:
            for seed in SEEDS:
                weights = draw(codes, k, seed, "weights")[0]
                assert weights.dtype == np.float64
                assert abs(weights.sum() - 1) <= 2 * k * EPS
                assert (weights >= 0).all()
                np.testing.assert_array_equal(weights, draw(images, k, seed, "weights")[0])


def test_codes_are_those_before_decoding_and_images_are_bytes(finished, by_title, tiny):
    select, decode = by_title["select quantize"], by_title["decode diffusion"]
    part = select.parts()[0]
    codes = load_file(finished.folder / select.folder_name / f"{part}.safetensors")
    images = load_file(finished.folder / decode.folder_name / f"{part}.safetensors")
    assert codes.keys() == {f"k{k}.seed{s}.{name}" for k in BUDGETS for s in SEEDS for name in ("points", "weights")}
    for k in BUDGETS:
        for seed in SEEDS:
            pixels, again = draw(images, k, seed, "images", "latents")
            assert pixels.dtype == np.uint8
            assert pixels.shape == (k, 1, tiny.data.size, tiny.data.size)
            points = draw(codes, k, seed, "points")[0]
            assert again.shape == points.shape
            assert not np.allclose(again, points, atol=1e-3), "decoding moves the codes; the stored ones have not moved"


def test_real_images_are_distinct_images_of_their_class(finished, by_title, stages):
    data = next(stage for stage in stages if isinstance(stage, TrainStage)).data
    for method in ("random", "nearest"):
        for index, part in enumerate(data.part_names):
            chosen = load_file(finished.folder / by_title[f"select {method}"].folder_name / f"{part}.safetensors")
            images = load_file(finished.folder / by_title[f"images {method}"].folder_name / f"{part}.safetensors")
            of_class = data.train.images[data.train.of_class(index)]
            for k in BUDGETS:
                for seed in SEEDS:
                    indices = draw(chosen, k, seed, "indices")[0]
                    assert len(set(indices.tolist())) == k
                    np.testing.assert_array_equal(draw(images, k, seed, "images")[0], of_class[indices])


def test_full_is_the_whole_training_set(finished, by_title, stages):
    data = next(stage for stage in stages if isinstance(stage, TrainStage)).data
    for index, part in enumerate(data.part_names):
        images = load_file(finished.folder / by_title["images all"].folder_name / f"{part}.safetensors")
        np.testing.assert_array_equal(images["all.seed0.images"], data.train.images[data.train.of_class(index)])


def test_what_the_teacher_recognizes_is_counted_from_its_labels(finished, by_title, metrics):
    label, right = by_title["label random"], []
    for index, part in enumerate(label.parts()):
        tensors = load_file(finished.folder / label.folder_name / f"{part}.safetensors")
        right += [tensors[f"k3.seed{seed}.logits"].argmax(1) == index for seed in (0, 1)]
    row = next(row for row in metrics["rows"] if (row["method"], row["ipc"]) == ("random", 3))
    assert row["recognized"] == np.concatenate(right).mean()


def test_the_report_is_there_and_offline(finished, metrics):
    from PIL import Image

    folder = finished.folder / "report"
    report = json.loads((folder / "report.json").read_bytes())
    assert report["rows"] == metrics["rows"]
    assert report["checks"] == metrics["checks"]
    assert report["images"] == metrics["images"] == {"train": 1437, "test": 360, "left_out": 0}
    assert report["recipe"]["name"] == "digits"
    assert {stage["title"] for stage in report["stages"]} >= {"codec", "encode", "decode diffusion", "train ddoq", "evaluate"}
    assert all(stage["wall_s"] <= stage["work_s"] + 1e-3 and stage["peak_memory_bytes"] > 0 for stage in report["stages"])
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    pictures = re.findall(r'<img src="([^"]+)"', page)
    assert set(pictures) == {path.name for path in folder.glob("*.png")}
    assert {"accuracy.png", "distortion.png", "weights.png", "images-ipc1.png", "images-ipc3.png"} <= set(pictures)
    assert not re.search(r"https?://|<script|<link", page)
    for name in pictures:
        with Image.open(folder / name) as image:
            assert image.format == "PNG"
            image.load()
            assert min(image.size) > 50
    for row in report["rows"]:
        assert f"{row['top1_mean']:.4f} ± {row['top1_std']:.4f}" in page


def test_sheets_show_every_class(finished, by_title):
    from PIL import Image

    decode = by_title["decode diffusion"]
    for part in decode.parts():
        with Image.open(finished.folder / decode.folder_name / f"{part}.png") as image:
            image.load()


def test_every_file_is_of_a_plain_format_and_none_is_half(finished):
    for path in (path for path in finished.folder.rglob("*") if path.is_file()):
        assert path.suffix in (".safetensors", ".json", ".png", ".html") or path.name == ".lock", path
        assert not path.read_bytes().startswith((b"\x80", b"PK"))


def test_manifests_say_versions_hardware_and_what_it_took(finished, stages):
    for stage in stages:
        manifest = json.loads((finished.folder / stage.folder_name / "manifest.json").read_bytes())
        assert manifest["digest"] == stage.digest
        assert manifest["parts"] == len(stage.parts())
        assert manifest["parents"] == [parent.folder_name for parent in stage.parents]
        assert manifest["peak_memory_bytes"] > 2**20
        environment = manifest["environment"]
        assert environment["workers"] == 2
        assert environment["threads_per_worker"] == 1
        assert environment["packages"].keys() >= {"numpy", "torch", "diffusers"}
        assert environment["python"].count(".") == 2


def test_latents_are_standardized_and_the_codec_knows_how(finished, by_title):
    config = json.loads((finished.folder / by_title["codec"].folder_name / "config.json").read_bytes())
    latents = np.concatenate(
        [
            load_file(finished.folder / by_title["encode"].folder_name / f"{part}.safetensors")["latents"].reshape(-1)
            for part in by_title["encode"].parts()
        ]
    ).astype(float)
    assert config["scaling_factor"] > 0
    # Standardized by the same float32 latents: relative to the scale, rounding of one product a latent and of the mean of n of
    # them, which torch adds pairwise; the shift is taken relative to the spread.
    slack = 64 * np.finfo(np.float32).eps * (1 + abs(config["shift_factor"]) * config["scaling_factor"])
    assert abs(latents.mean()) < slack
    assert abs(latents.std() - 1) < slack + 1 / len(latents)  # torch divides by n − 1


# Reruns
