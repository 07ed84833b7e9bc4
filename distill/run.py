"""Run a recipe: check it, lock its folder, make what is missing, and say what came out."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from distill.estimate import Estimate, check_disk, estimate
from distill.graph import build
from distill.pipeline import local
from distill.pipeline.engine import Engine
from distill.pipeline.environment import describe, gpus, processors
from distill.pipeline.execute import Watcher, execute
from distill.pipeline.inside import LeadsOut, inside
from distill.pipeline.lock import locked
from distill.pipeline.stage import Stage, ordered
from distill.pipeline.store import RECIPES, Store, write_whole
from distill.recipe import Recipe, RecipeError, check, read
from distill.record import keep, stages_of
from distill.stages.codec import PretrainedCodecStage
from distill.stages.prior import PretrainedPriorStage
from distill.stages.survey import SurveyStage

_LAST, _FINISHED = RECIPES
EngineName = Literal["auto", "local", "ray"]


@dataclass(frozen=True)
class Run:
    """A run's folder and, where the run went as far, its measured ``metrics`` (rows and checks)."""

    folder: Path
    metrics: Mapping[str, Any] | None


@dataclass(frozen=True)
class Planned:
    """A stage with the number of its parts, how many are in the folder, and what is kept of those under way, in parts."""

    stage: Stage
    parts: int
    done: int
    begun: float = 0.0

    @property
    def share(self) -> float:
        """Of the stage that is done."""
        return (self.done + self.begun) / self.parts


def run(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    out: str | Path | None = None,
    set: Sequence[str] = (),
    until: str | None = None,
    verify: bool = False,
    workers: int | None = None,
    engine: EngineName = "auto",
    watcher: Watcher | None = None,
) -> Run:
    """Run a recipe to its report, or to the stage ``until``; what is in the folder already is kept, so calling again resumes.

    recipe: an embedded name, a TOML file, a mapping or a Recipe. out: the folder, ``runs/<recipe name>`` by default.
    set: changes such as ``select.k=50``. verify: hash every finished part, and the images, instead of trusting sizes and times.
    workers: processes of one thread; by default one a GPU where the recipe computes on GPUs, else one a processor. engine: who
    starts them: this machine alone, or Ray on all nodes of a cluster; ``auto`` takes Ray where ``RAY_ADDRESS`` names a cluster or
    several processes train a student. Results depend on neither.

    Raises RecipeError before any work for a recipe that cannot be run, InUse where another process writes to the folder, and
    PartFailed where a part could not be made (everything finished is kept).
    """
    checked = read(recipe, set)
    if workers is not None and workers < 1:
        raise RecipeError(f"workers must be at least 1; received {workers}")
    if engine == "auto":
        engine = "ray" if os.environ.get("RAY_ADDRESS") or checked.train.processes > 1 else "local"
    if engine == "local":
        _check_device(checked)
    graph = build(checked)
    stages = upto(graph, until)
    folder = folder_of(checked, out)
    start = _engine(engine, checked, folder, workers)
    if engine == "local" and workers is None:
        workers = processors() if checked.compute.device == "cpu" else len(gpus())
    _make(checked, graph, stages, folder, start, workers, watcher or Watcher(), verify=verify, whole=until is None)
    return Run(folder, metrics(Store(folder), stages))


def _engine(name: str, recipe: Recipe, folder: Path, workers: int | None) -> Callable[[int], Engine]:
    """What starts an engine, for so many workers at most."""
    group, device = recipe.train.processes, recipe.compute.device
    if name == "local":
        if group > 1:
            raise RecipeError(f"train.processes = {group} takes the engine that spans processes: --engine ray")
        count = workers or (processors() if device == "cpu" else len(gpus()))
        return lambda most: local.LocalEngine(folder.resolve(), min(count, most), device)
    if find_spec("ray") is None:
        raise RecipeError("the engine ray is not installed; pip install 'optimal-quantization[cluster]', or --engine local")
    if workers is not None and workers < group:
        raise RecipeError(f"train.processes = {group} is a student's number of workers, and there are {workers}; ask for fewer")
    cluster = import_module("distill.pipeline.cluster")  # loads Ray
    return lambda most: cluster.RayEngine(folder.resolve(), workers, device, most, group)


def _check_device(recipe: Recipe) -> None:
    if recipe.compute.device == "cuda" and not (gpus() and import_module("torch").cuda.device_count()):
        raise RecipeError('compute.device = "cuda", but no GPU is to be seen here; --set compute.device=cpu computes without one')


def _check_obtainable(stages: Sequence[Stage], store: Store) -> None:
    """Refuses what is to be fetched hours from now and is not to be had, as on a node without network.

    A teacher's weights are in the run once they were fetched; a codec's or a prior's are read as long as something is missing.
    """
    missing = [stage for stage in stages if not all(store.holds(stage, part) for part in stage.parts())]
    needed = dict.fromkeys(each for stage in missing for each in ordered(stage) if each in missing or each.name != "teacher")
    reasons = [reason for stage in needed if (reason := stage.unobtainable())]
    if reasons:
        raise RecipeError("\n".join(reasons))


def _make(
    recipe: Recipe,
    graph: list[Stage],
    stages: list[Stage],
    folder: Path,
    start: Callable[[int], Engine],
    workers: int | None,
    watcher: Watcher,
    *,
    verify: bool,
    whole: bool,
) -> None:
    """Lock the folder and make what is missing in it. whole: whether these are all stages of the recipe."""
    store = Store(folder)
    _check_obtainable(stages, store)
    check_disk([estimate(stage, store, timed=False) for stage in stages], folder)
    _check_folder(folder)
    with locked(folder):
        store.sweep()
        written = json.dumps(recipe.model_dump(), indent=1).encode()
        write_whole(folder / _LAST, written)
        keep(folder, graph, _LAST)
        if verify:
            _check_sources(stages, store)
        execute(stages, store, start, describe(workers), watcher, verify=verify)
        if whole:
            write_whole(folder / _FINISHED, written)
            keep(folder, graph, _FINISHED)
        store.sweep()


def folder_of(recipe: Recipe, out: str | Path | None = None) -> Path:
    """The folder of a run: ``out``, or ``runs/<recipe name>``."""
    return Path(out).expanduser() if out is not None else Path("runs") / recipe.name


def plan(folder: str | Path) -> list[Planned]:
    """What a run folder holds of the recipe it was last run with. Writes nothing."""
    return _planned(stages_of(folder, recipe_of(folder)), folder)


def progress_of(recipe: Recipe, folder: str | Path, *, until: str | None = None) -> list[Planned]:
    """What a folder holds of a recipe's stages. Writes nothing."""
    return _planned(upto(build(recipe), until), folder)


def _planned(stages: Sequence[Stage], folder: str | Path) -> list[Planned]:
    store = Store(Path(folder))
    found: list[Planned] = []
    for stage in stages:
        missing = [part for part in stage.parts() if not store.holds(stage, part)]
        begun = sum(_share(store, stage, part) for part in missing)
        found.append(Planned(stage, len(stage.parts()), len(stage.parts()) - len(missing), begun))
    return found


def _share(store: Store, stage: Stage, part: str) -> float:
    """What is kept of a part under way; nothing where its folder is a link that leads out of the run's."""
    try:
        return store.checkpoint(stage, part).share()
    except LeadsOut:
        return 0.0


def estimates(recipe: Recipe, folder: str | Path, *, until: str | None = None) -> list[Estimate]:
    """What is left of a recipe in a folder, and what it will take. Writes nothing.

    Raises RecipeError for what would be refused before work begins: a disk too small among others.
    """
    store = Store(Path(folder))
    stages = upto(build(recipe), until)
    _check_obtainable(stages, store)
    found = [estimate(stage, store) for stage in stages]
    check_disk(found, Path(folder))
    return found


def recipe_of(folder: str | Path) -> Recipe:
    """The recipe that a run folder was last run with."""
    path = Path(folder) / _LAST
    if not path.is_file():
        raise RecipeError(
            f"{folder} is not a run folder: it holds no recipe.json. Make one with: python -m distill run RECIPE --out {folder}"
        )
    return _read(path)


def finished_of(folder: str | Path) -> Recipe | None:
    """The recipe that a run folder was last run with to the end, if there is one."""
    path = Path(folder) / _FINISHED
    return _read(path) if path.is_file() else None


def _read(path: Path) -> Recipe:
    try:
        return check(json.loads(path.read_bytes()))
    except json.JSONDecodeError as error:
        raise RecipeError(f"{path} is not valid JSON ({error}); run the recipe again to write it anew") from None


def upto(stages: list[Stage], until: str | None) -> list[Stage]:
    """The stages up to and including those called ``until``."""
    if until is None:
        return stages
    names = list(dict.fromkeys(stage.name for stage in stages))
    if until not in names:
        raise RecipeError(f"there is no stage {until!r}; the stages are {', '.join(names)}")
    keep = {ancestor for stage in stages if stage.name == until for ancestor in ordered(stage)}
    return [stage for stage in stages if stage in keep]


def metrics(store: Store, stages: Sequence[Stage]) -> dict[str, Any] | None:
    """The measured figures, if the evaluation is finished."""
    evaluate = next((stage for stage in stages if stage.name == "evaluate"), None)
    return store.values(evaluate, "metrics") if evaluate is not None and store.holds(evaluate, "metrics") else None


def _check_sources(stages: Sequence[Stage], store: Store) -> None:
    """Refuse images and models that hold other bytes than what the folder's artifacts were made of. Reads all of them."""
    for stage in stages:
        if isinstance(stage, SurveyStage) and store.manifest(stage) is not None:
            what, changed = "the images of {} classes", stage.changed(store)
        elif isinstance(stage, PretrainedCodecStage | PretrainedPriorStage) and store.holds(stage, "model"):
            what, changed = f"{{}} files of the {stage.name}'s model", stage.changed(store)
        else:
            continue
        if changed:
            raise RecipeError(
                f"{what.format(len(changed))}, such as {changed[0]!r}, changed since this run read them, though not their names "
                "and sizes. Restore them, or give the new ones a folder of their own with --out"
            )


def _check_folder(folder: Path) -> None:
    """Make the folder if it can be one; refuse one that holds other people's files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strangers = [path.name for path in folder.iterdir() if not path.name.startswith((".lock", _LAST))]
        if not strangers or (folder / _LAST).is_file():
            inside(folder, ".lock").open("a").close()
    except OSError as error:
        raise RecipeError(f"{folder} cannot be a run's folder: {error.strerror}. Give another with --out") from None
    if strangers and not (folder / _LAST).is_file():
        raise RecipeError(
            f"{folder} holds other files, such as {strangers[0]}, and no run. Give an empty folder, or a new one, with --out"
        )
