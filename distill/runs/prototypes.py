"""Prototypes: the weighted points among a network's features that a probe learned from, and the linear classifier it found."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from distill.methods import METHODS
from distill.pipeline.store import Store
from distill.recipe import Recipe, RecipeError
from distill.recipe.codes import PretrainedFeatures
from distill.recipe.students import TrainedTeacher
from distill.runs.distilled_set import draw_of, reading
from distill.runs.folder import finished_of, recipe_of
from distill.runs.graph_snapshot import Graph, graph_of
from distill.stages.draw import Draw, Run, runs
from distill.stages.feature_space import projected
from distill.stages.pretrained_network import is_file
from distill.stages.probe import weights_of

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Prototypes:
    """A probe, as it stands in a run.

    tensors: ``points`` (n, m), ``labels`` (n,), ``weights`` (n,) of mean 1; ``mean`` (d,) and ``directions`` (d, m) of the space,
    the latter not there where it is all features; ``matrix`` (classes, m) and ``bias`` (classes,). The logits of features f are
    z Wᵀ + b with z = (f − mean) directions. about: JSON values, of which ``network`` says how it is built and fed. state: the
    network's weights, where no library has them under a name. keys, classes: as the source writes them, and their names.
    """

    tensors: dict[str, Any]
    about: dict[str, Any]
    state: dict[str, Any] | None
    keys: tuple[str, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tensors["points"])


def prototypes(folder: str | Path, method: str | None = None, k: int | None = None, seed: int | None = None) -> Prototypes:
    """Those of a run: by default of its first method, its largest budget and its first seed. Reads the run's folder alone.

    Raises RecipeError for a run whose students are networks, for what it has not, and where it is unfinished or damaged.
    """
    recipe = recipe_of(folder)
    if recipe.probe is None:
        raise RecipeError(
            f"this run has no prototypes: its students are networks that learn under the protocol {recipe.train.protocol}. "
            'A run with train.protocol = "probe" fits linear classifiers to points among features; its prototypes are these'
        )
    method = recipe.methods[0] if method is None else method
    if method not in recipe.methods:
        raise RecipeError(f"this run has no method {method!r}; it has {', '.join(recipe.methods)}")
    draw = draw_of(recipe, method, k, None if METHODS[method].select == "all" else seed)
    regime, student = _student(recipe, method, draw, seed)
    graph = graph_of(folder, recipe, finished_of(folder))
    with reading(folder, recipe) as store:
        return _Kept(recipe, store, graph).prototypes(method, regime, student)


def _student(recipe: Recipe, method: str, draw: Draw, seed: int | None) -> tuple[str, Run]:
    """The first regime of labels under which a classifier learned from a draw, and that classifier."""
    for regime in recipe.train.regimes:
        if method in (recipe.train.scope(regime).methods or recipe.methods):
            for run in runs(recipe, METHODS[method].select, regime):
                if run.draw == draw and seed in (None, run.seed):
                    return regime, run
    raise RecipeError(
        f"no classifier of this run learned from {method} with {draw.k or 'all'} images per class and seed "
        f"{draw.seed if seed is None else seed}: its seeds are {', '.join(map(str, recipe.seeds))}; train.only may restrict more"
    )


class _Kept:
    """What is read of a run's folder, by the titles that its stages had when it was run."""

    def __init__(self, recipe: Recipe, store: Store, graph: Graph) -> None:
        assert recipe.probe is not None
        assert recipe.features is not None, "a probe's recipe has the section"
        self.recipe, self.section, self.probe = recipe, recipe.features, recipe.probe
        self.store, self.graph = store, graph
        self._stages = {stage.title: stage for stage in graph.stages}

    def prototypes(self, method: str, regime: str, student: Run) -> Prototypes:
        import torch

        stage = self._stages[self.probe.titled(f"probe {method}", regime)]
        fitted, found = self.store.tensors(self._stages["components"], "components"), self.store.tensors(stage, student.name)
        select = self._stages[f"select {METHODS[method].select}"]
        selected = [self.store.tensors(select, part) for part in self.graph.part_names]
        points, squared, entries = list[Rows](), 0.0, 0
        for index, part in enumerate(self.graph.part_names):
            real = projected(self._features(part), fitted)
            points.append(self._points(method, index, selected[index], real, fitted, student.draw))
            squared, entries = squared + float(cdist(real, points[-1], "sqeuclidean").min(1).sum()), entries + real.size
        network, state = self._network()
        tensors = {
            "points": torch.from_numpy(np.concatenate(points)),
            "labels": torch.repeat_interleave(torch.tensor([len(own) for own in points])),
            "weights": torch.from_numpy(np.concatenate(weights_of(selected, method, student.draw))),
            **{key: fitted[key] for key in ("mean", "directions") if key in fitted},
            **{key: found[key] for key in ("matrix", "bias")},
        }
        about = {
            "method": method,
            "k": student.draw.k,
            "seed": student.seed,
            "labels": regime,
            "ridge": self.probe.ridge,
            "top1": self.store.values(stage, student.name)["top1"],
            "dtype": "float64",
            "variance": squared / entries,
            "network": network,
        }
        return Prototypes(tensors, about, state, self.graph.classes, self.graph.names)

    def _features(self, part: str) -> Rows:
        """Of all training images of a class."""
        stage = self._stages["features train"]
        shards = [shard for shard in stage.parts() if shard.rpartition("-")[0] == part]
        return np.concatenate([self.store.tensors(stage, shard)["features"].double().numpy() for shard in shards])

    def _points(self, method: str, index: int, selected: Mapping[str, Any], real: Rows, fitted: Any, draw: Draw) -> Rows:
        """What a classifier learned from of a class: codes, points of real images, or those of images that were made."""
        if self.recipe.codes_suffice(method):
            return draw.of(selected, "points").numpy()
        if METHODS[method].decode == "real":
            return real[draw.of(selected, "indices").numpy()]
        images = draw.of(self.store.tensors(self.graph.sets[method][0], self.graph.part_names[index]), "images")
        return projected(self._of_images(images), fitted)

    def _of_images(self, images: Any) -> Rows:
        """Features of images (n, C, H, W) uint8, by the network that the run keeps."""
        import torch

        from distill.models.features import FeatureNetwork

        network = FeatureNetwork(self._load(), self.section.layer, self.section.pooling)
        return torch.cat([network(some.float() / 255) for some in images.split(self.section.batch)]).double().numpy()

    def _load(self) -> Any:
        """Pixels from 0 to 1 → logits, by the network with its weights."""
        from distill.models.teachers import rebuilt

        made, state = self._kept_network()
        if "library" in made:
            return rebuilt(made, state, None)
        network = self._untrained()
        network.load_state_dict(state)
        return network

    def _network(self) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """How the network is built and fed; its weights where it was trained here, or came as a file."""
        from distill.models.features import bare
        from distill.models.teachers import sized

        section, (made, state) = self.section, self._kept_network()
        size = section.image_size or self.recipe.data.size
        feeding = {"layer": bare(section.layer), "pooling": section.pooling, "image_size": size}
        if "library" in made:
            by_name = not is_file(made["weights"])
            known = {key: made[key] for key in ("library", "model", "channels", "size", "mean", "std", "licence")}
            sides = sized(made["model"], made["size"]) if made["library"] == "timm" else {}
            known["arguments"] = {} if by_name else {"num_classes": made["classes"], **sides}
            return {**known, "weights": made["weights"] if by_name else None, **feeding}, None if by_name else state
        network, arguments = self._untrained(), self._arguments()
        known = {"library": "distill", "model": made["model"], "arguments": arguments, "channels": arguments["channels"]}
        standard = {key: [round(x, 6) for x in getattr(network, key).flatten().tolist()] for key in ("mean", "std")}
        own = {bare(name): tensor for name, tensor in state.items()}
        return {**known, "size": size, **standard, "licence": None, "weights": None, **feeding}, own

    def _kept_network(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the run keeps of the network of [features]: how it was built, and its weights."""
        section = self.section
        stage = self._stages[f"network {section.model}" if isinstance(section, PretrainedFeatures) else "teacher"]
        return self.store.values(stage, stage.name), self.store.tensors(stage, stage.name)

    def _untrained(self) -> Any:
        """The network of a teacher that was trained in the run."""
        from distill.models.networks import new_student

        return new_student(self.recipe.teacher.model, **self._arguments())

    def _arguments(self) -> dict[str, Any]:
        section, data = self.recipe.teacher, self.recipe.data
        assert isinstance(section, TrainedTeacher)
        channels = 1 if data.source == "digits" else 3  # all other data are read in colour
        shape = {"channels": channels, "size": data.size, "classes": len(self.graph.classes)}
        return {**shape, **{key: getattr(section, key) for key in ("width", "depth", "small_stem")}}
