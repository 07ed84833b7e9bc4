"""What the tests of the pipeline share: stages that need no network, and one finished tiny run for all test processes."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import pytest

import distill
from distill import recipe as recipes
from distill.graph import build
from distill.pipeline.environment import ONE_THREAD
from distill.pipeline.stage import Stage
from distill.pipeline.store import Store

# The digits in seconds: every stage and method is there, nothing is trained to any use.
TINY = (
    "data.size=16",
    "codec.channels=[4, 4]",
    "codec.steps=3",
    "prior.layers=1",
    "prior.steps=3",
    "teacher.width=4",
    "teacher.steps=10",
    "select.k=[1, 3]",
    "select.max_iter=20",
    "decode.steps=4",
    "train.width=4",
    "train.steps=4",
    "train.evaluations=2",
    "seeds=[0, 1]",
    'comparisons=[["nearest", "random"], ["full", "ddoq"]]',
)

# Codes among the features of the digits' own teacher.
FEATURES = (
    'select.space="features"',
    'select.solver="lloyd"',
    "select.k=[1, 4]",
    'features.source="teacher"',
    "features.components=6",
    "teacher.width=4",
    "teacher.steps=60",
    "data.size=16",
    "seeds=[0, 1]",
)


class FakeStage(Stage):
    """A stage whose parts are small JSON files: their own name and the values of the parents' parts."""

    name = "fake"

    def __init__(
        self,
        *parents: Stage,
        name: str = "fake",
        parts: tuple[str, ...] = ("a",),
        options: Mapping[str, object] | None = None,
        version: int = 1,
        folder: str | None = None,
        make: Callable[..., Mapping[str, object]] | None = None,
    ) -> None:
        self.name, self.version, self.parents = name, version, parents  # type: ignore[misc]
        self._parts, self._options, self._folder, self._make = parts, dict(options or {}), folder, make

    @property
    def folder_name(self) -> str:
        return self._folder or super().folder_name

    def options(self):
        return self._options

    def parts(self):
        return list(self._parts)

    def make(self, part, read, progress):
        below = {parent.name: {each: read.values(parent, each) for each in parent.parts()} for parent in self.parents}
        extra = self._make(part, read) if self._make is not None else {}
        return {f"{part}.json": {"part": part, "options": self._options, "below": below, **extra}}


@pytest.fixture(scope="session")
def fake():
    """The class of stages that need no network."""
    return FakeStage


@pytest.fixture(scope="session")
def record():
    """What a worker writes into a seal besides the files."""
    return {"seed": 1, "began": 100.0, "ended": 101.5, "peak_memory_bytes": 7}


@pytest.fixture(scope="session")
def tiny_changes():
    """What makes the digits a tiny run."""
    return TINY


@pytest.fixture(scope="session")
def tiny():
    """The recipe of the finished tiny run."""
    return recipes.read("digits", TINY)


@pytest.fixture(scope="session")
def tiny_command():
    """The command line of a tiny run, without ``--out``."""
    return [sys.executable, "-m", "distill", "run", "digits", *(word for change in TINY for word in ("--set", change))]


@pytest.fixture(scope="session")
def clean_environment():
    """The environment of subprocesses: one thread each, no colours."""
    return {**{k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "COLUMNS")}, **ONE_THREAD}


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """``once(name, build)``: the folder that ``build(folder)`` filled, built by the first test process that asks."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def get(name: str, build: Callable[[Path], None]) -> Path:
        folder, done, failed = shared / name, shared / f"{name}.done", shared / f"{name}.failed"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if failed.exists():
                pytest.fail(f"{name} could not be built: {failed.read_text()}")
            if not done.exists():
                folder.mkdir()
                try:
                    build(folder)
                except BaseException as error:
                    failed.write_text(repr(error))
                    raise
                done.touch()
        return folder

    return get


@pytest.fixture(scope="session")
def finished(once, tiny, tiny_command, clean_environment):
    """A finished tiny run, made by the command with two workers: ``folder``, ``recipe``, ``output``. Not to be written to."""

    def build(place: Path) -> None:
        made = subprocess.run(
            [*tiny_command, "--out", str(place / "run"), "--workers", "2"],
            capture_output=True,
            text=True,
            env=clean_environment,
            check=False,
        )
        assert made.returncode == 0, made.stderr + made.stdout
        (place / "output.txt").write_text(made.stdout)
        (place / "errors.txt").write_text(made.stderr)

    place = once("finished", build)
    return SimpleNamespace(
        folder=place / "run",
        recipe=tiny,
        output=(place / "output.txt").read_text(),
        errors=(place / "errors.txt").read_text(),
    )


@pytest.fixture(scope="session")
def features_changes():
    """What makes the digits a tiny run among features."""
    return FEATURES


@pytest.fixture(scope="session")
def probe_table():
    """The digits' recipe with linear classifiers as students, and nothing encoded."""
    text = (resources.files("distill") / "recipes" / "digits.toml").read_text(encoding="utf-8")
    return tomllib.loads(text) | {"train": {"protocol": "probe"}, "codec": {"source": "none"}, "prior": {"source": "none"}}


@pytest.fixture(scope="session")
def made(once):
    """``made(name, recipe)``: a finished run of a recipe, its stages by their titles. Not to be written to."""

    def get(name, recipe):
        folder = once(name, lambda place: distill.run(recipe, out=place / "run", workers=1)) / "run"
        stages = {stage.title: stage for stage in build(recipe)}
        return SimpleNamespace(folder=folder, store=Store(folder), stages=stages, recipe=recipe)

    return get


@pytest.fixture(scope="session")
def probed(made, probe_table):
    """A run of linear classifiers on codes and features."""
    methods = 'methods=["ddoq", "uniform", "nearest-mass", "random", "full"]'
    return made("probed", recipes.read(probe_table, [*FEATURES, methods]))


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run, sizes and times and all, to do harm to."""
    return Path(shutil.copytree(finished.folder, tmp_path / "run"))


@pytest.fixture(scope="session")
def stages(tiny):
    return build(tiny)


@pytest.fixture(scope="session")
def by_title(stages):
    return {stage.title: stage for stage in stages}


@pytest.fixture(scope="session")
def metrics(finished, by_title):
    return json.loads((finished.folder / by_title["evaluate"].folder_name / "metrics.json").read_bytes())


def save_photos(root, classes, count=6, *, splits=("train", "val"), side=40, seed=0):
    """An ImageNet-shaped tree of small JPEGs: each class a colour of its own, with noise."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(seed)
    for split in splits:
        for index, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count if split == "train" else 2):
                hue = np.array([index * 80 % 256, 255 - index * 60 % 256, 128])
                pixels = np.clip(hue + rng.normal(0, 40, (side, side + 8, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{name}_{i}.JPEG", quality=90)
    return root


@pytest.fixture(scope="session")
def photos():
    """Writes trees of small JPEGs: ``photos(root, classes, count)``."""
    return save_photos


def _save_stable_diffusion(folder: Path) -> None:
    """A Stable Diffusion pipeline of random weights: VAE, UNet, CLIP text encoder and tokenizer, scheduler; a few kilobytes."""
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
        scaling_factor=0.18215,
    ).save_pretrained(folder / "vae")
    UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
    ).save_pretrained(folder / "unet")
    PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    config = CLIPTextConfig(
        vocab_size=1000,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=0,
        eos_token_id=1,
    )
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters), ",</w>"]
    place = folder / "tokenizer"
    place.mkdir()
    (place / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (place / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(place / "vocab.json"), str(place / "merges.txt")).save_pretrained(place)


def _save_dit(folder: Path, classes: int = 3) -> None:
    """A DiT of random weights that learns variances, its null class the last, with its scheduler."""
    import torch
    from diffusers import DDIMScheduler, DiTTransformer2DModel

    torch.manual_seed(1)
    model = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        sample_size=16,
        num_embeds_ada_norm=classes,
    )
    for weight in model.parameters():  # its last layer begins at zero, which would predict nothing
        torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder / "transformer")
    DDIMScheduler(clip_sample=False).save_pretrained(folder / "scheduler")


@pytest.fixture(scope="session")
def stable_diffusion(once):
    """The folder of a tiny Stable Diffusion pipeline."""
    return once("stable-diffusion", _save_stable_diffusion)


@pytest.fixture(scope="session")
def dit(once):
    """The folder of a tiny DiT of three classes."""
    return once("dit", _save_dit)


@pytest.fixture
def table(once, photos, stable_diffusion):
    """A recipe of photographs, the tiny Stable Diffusion's codec and prior, and little of everything."""
    tree = once("photos", lambda folder: photos(folder, ("n01440764", "n02102040", "n03126707"), 5))
    recipe = recipes.read("digits").model_dump() | {"seeds": [0], "methods": ["ddoq"]}
    recipe["data"] = {"source": "folder", "path": str(tree), "size": 32}
    recipe["codec"] = {"source": "pretrained", "kind": "AutoencoderKL", "path": str(stable_diffusion), "subfolder": "vae"}
    recipe["prior"] = {"source": "pretrained", "kind": "UNet2DConditionModel", "path": str(stable_diffusion)}
    recipe["select"] |= {"k": [2], "max_iter": 5, "solver": "lloyd"}
    recipe["decode"] = {"strength": 0.5, "steps": 4, "guidance": 2.0}
    return recipe
