"""Run a recipe: check it, lock its folder, make what is missing, and say what came out."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from distill.engines import local
from distill.engines.execute import Board, Watcher, execute
from distill.estimate import check_disk, estimate
from distill.graph import build
from distill.images import load
from distill.images.layout import check_apart, chosen
from distill.pipeline.engine import Engine
from distill.pipeline.environment import describe, gpus, processors
from distill.pipeline.format import numbered
from distill.pipeline.lock import locked
from distill.pipeline.safe_path import inside
from distill.pipeline.stage import Stage
from distill.pipeline.store import Store, write_whole
from distill.recipe import Recipe, RecipeError, read
from distill.runs.folder import FINISHED, LAST, check_format, folder_of, metrics, upto
from distill.runs.graph_snapshot import keep
from distill.runs.planning import unobtainable
from distill.stages.pretrained_codec import PretrainedCodecStage
from distill.stages.pretrained_prior import PretrainedPriorStage
from distill.stages.validate_images import ValidateImagesStage

EngineName = Literal["auto", "local", "ray"]


@dataclass(frozen=True)
class Run:
    """What a run made.

    Attributes
    ----------
    folder : Path
        The run's folder: artifacts, and the page ``report/index.html``.
    metrics : mapping or None
        Measured figures (rows and checks); ``None`` where the run stopped before them.

    Examples
    --------
    >>> import distill, tempfile
    >>> run = distill.run("digits", out=tempfile.mkdtemp(), until="validate", workers=1)
    >>> any(path.name.startswith("validate-") for path in run.folder.iterdir()), run.metrics
    (True, None)
    """

    folder: Path
    metrics: Mapping[str, Any] | None


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

    Parameters
    ----------
    recipe : str, Path, mapping or Recipe
        An embedded name, a TOML file, or what a TOML file holds.
    out : str or Path, optional
        The folder, ``runs/<recipe name>`` by default.
    set : sequence of str
        Changes such as ``"select.k=50"``.
    until : str, optional
        The last stage: validate, codec, encode, select, decode, label, train, ...
    verify : bool, default False
        Hash every finished part, and the images, instead of trusting sizes and times.
    workers : int, optional
        Processes of one thread; by default one per GPU where the recipe computes on GPUs, else one a processor.
    engine : {"auto", "local", "ray"}
        Who starts them: this machine alone, or Ray on all nodes of a cluster; ``auto`` takes Ray where ``RAY_ADDRESS`` names a
        cluster or several processes train a student. Results depend on neither.
    watcher : Watcher, optional
        Is told of the progress.

    Returns
    -------
    Run
        The folder, and the measured figures.

    Raises
    ------
    RecipeError
        Before any work, for a recipe that cannot be run.
    InUse
        Where another process writes to the folder.
    PartFailed
        Where a part could not be made; everything finished is kept.

    Examples
    --------
    >>> import distill, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> run = distill.run("digits", out=folder, set=["seeds=[0]", "select.k=[5]"], until="validate", workers=1)
    >>> str(run.folder) == folder
    True
    """
    checked = read(recipe, set)
    if workers is not None and workers < 1:
        raise RecipeError(f"workers must be at least 1; received {workers}")
    if engine == "auto":
        engine = "ray" if os.environ.get("RAY_ADDRESS") or checked.train.processes > 1 else "local"
    if engine == "local":
        _check_device(checked)
    images = load(checked.data)
    graph = build(checked, images)
    stages = upto(graph, until)
    folder = folder_of(checked, out)
    check_apart(checked.data, folder)
    watcher = watcher or Watcher()
    start = _engine(engine, checked, folder, workers)
    if engine == "local" and workers is None:
        workers = processors() if checked.compute.device == "cpu" else len(gpus())
    for sentence in chosen(checked, images):
        watcher.chose(sentence)
    _make(checked, graph, stages, folder, start, workers, watcher, verify=verify, whole=until is None)
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
    cluster = import_module("distill.engines.cluster")  # loads Ray
    return lambda most: cluster.RayEngine(folder.resolve(), workers, device, most, group)


def _check_device(recipe: Recipe) -> None:
    if recipe.compute.device == "cuda" and not (gpus() and import_module("torch").cuda.device_count()):
        raise RecipeError('compute.device = "cuda", but no GPU is visible here; without one, --set compute.device=cpu')


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
    if reasons := unobtainable(stages, store):
        raise RecipeError("\n".join(reasons))
    check_disk([estimate(stage, store, timed=False) for stage in stages], folder)
    _check_folder(folder)
    with locked(folder):
        store.sweep()
        written = json.dumps(numbered(recipe.model_dump()), indent=1).encode()
        write_whole(folder / LAST, written)
        keep(folder, graph, LAST)
        if verify:
            _check_sources(stages, store)
        execute(Board(stages, store, describe(workers), watcher, verify=verify), start)
        if whole:
            write_whole(folder / FINISHED, written)
            keep(folder, graph, FINISHED)
        store.sweep()


def _check_sources(stages: Sequence[Stage], store: Store) -> None:
    """Refuse images and models that hold other bytes than what the folder's artifacts were made of. Reads all of them."""
    for stage in stages:
        if isinstance(stage, ValidateImagesStage) and store.manifest(stage) is not None:
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
        strangers = [path.name for path in folder.iterdir() if not path.name.startswith((".lock", LAST))]
        if not strangers or (folder / LAST).is_file():
            inside(folder, ".lock").open("a").close()
    except OSError as error:
        raise RecipeError(f"{folder} cannot be a run's folder: {error.strerror}. Give another with --out") from None
    if strangers and not (folder / LAST).is_file():
        raise RecipeError(
            f"{folder} holds other files, such as {strangers[0]}, and no run. Give an empty folder, or a new one, with --out"
        )
    check_format(folder)
