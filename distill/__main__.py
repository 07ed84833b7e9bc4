"""The command ``python -m distill``."""

import argparse
import math
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from distill.engines.watch import Bars, Lines
from distill.estimate import Estimate, duration, size
from distill.pipeline.engine import PartFailed
from distill.pipeline.environment import gpus, processors
from distill.pipeline.lock import InUse
from distill.pipeline.safe_path import PathEscapesRun
from distill.protocols import PRESETS
from distill.recipe import Listed, Recipe, RecipeError, embedded, listing, read
from distill.report.comparisons import compared
from distill.report.table import accuracies
from distill.runs.folder import Planned, folder_of, plan
from distill.runs.planning import Plan, planned
from distill.runs.run import run

_LOG_WIDTH = 160
_RUN = """Run a recipe to its report. What the run's folder holds already is kept, so giving the command again resumes; the
number of workers does not change a result. One process writes to a folder at a time."""
_EXAMPLES = """examples:
  python -m distill run digits                                distil handwritten digits into runs/digits
  python -m distill run photos --set data.path=DIR            distil photographs of your own: DIR/cat, DIR/dog, ...
  python -m distill run digits --set train.steps=800          other students; earlier stages are reused
  python -m distill run mine.toml --until decode --out /data/mine
  python -m distill schema train                              what may stand in a recipe's section [train]
  python -m distill status runs/digits                        what is done and what is missing
  python -m distill evaluate SET --recipe digits --protocol rded   an external set against random images
  python -m distill export runs/digits --format parquet       the distilled set, for datasets.load_dataset
  python -m distill clean runs/digits                         remove results that no recipe refers to
To resume an interrupted run, give the same command again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0 done, 1 a part failed, 2 misuse, 130 interrupted."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ± must not fail a finished run
    console = Console() if sys.stdout.isatty() else Console(width=_LOG_WIDTH)  # a table in a log is not cut to 80 columns
    try:
        with _terminable():
            return options.action(options, console)
    except (RecipeError, InUse, PathEscapesRun) as error:
        print(error, file=sys.stderr)
        return 2
    except (PartFailed, OSError) as error:
        kept = "\nEverything finished so far is kept; the same command resumes."
        print(f"{error}{kept if options.action in (_run, _evaluate) else ''}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. Everything finished so far is kept; the same command resumes.", file=sys.stderr)
        return 130


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the command as an interrupt from the keyboard does: in order, with what is being trained saved."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m distill",
        description="Distil a labelled image set into a few weighted images per class, and measure students trained on them.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"optimal-quantization {version('optimal-quantization')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    running = commands.add_parser(
        "run",
        help="run a recipe, or go on with it",
        description=_RUN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    running.add_argument("recipe", help=f"an embedded recipe ({', '.join(embedded())}) or a TOML file")
    running.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key, such as select.k=50; may be repeated"
    )
    running.add_argument(
        "--until", metavar="STAGE", help="stop after this stage: codec, encode, select, decode, label, train, ..."
    )
    running.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (default: runs/<recipe name>)")
    _add_how(running)
    running.set_defaults(action=_run)

    schema = commands.add_parser("schema", help="every option that a recipe may hold: what it means, what it takes, its default")
    schema.add_argument("section", nargs="?", metavar="SECTION", help="such as data, select or train (default: all)")
    schema.set_defaults(action=_schema)

    status = commands.add_parser("status", help="what a run folder holds and what is missing")
    status.add_argument("run", type=Path, metavar="RUN", help="a run's folder, such as runs/digits")
    status.set_defaults(action=_status)

    evaluating = commands.add_parser(
        "evaluate",
        help="evaluate an external distilled set: its students beside students of random real images",
        description="Train and test students of the set at FOLDER (a folder of images per class, whose metadata.csv may give "
        "weights and soft labels, parquet, webdataset's tars, or tensors of torch) beside students of as many random real "
        "images, under one protocol. Giving the command again resumes.",
    )
    evaluating.add_argument(
        "folder", type=Path, metavar="FOLDER", help="a folder of images per class, an export of a run, .parquet, .tar or .pt"
    )
    evaluating.add_argument(
        "--recipe",
        help="whose data, teacher, students and seeds to use: a name or a TOML file (default: of an export those of its run, of "
        "a set with the classes of ImageNet or a known subset those of the embedded recipe)",
    )
    evaluating.add_argument("--protocol", choices=list(PRESETS), help="instead of the recipe's")
    evaluating.add_argument("--own-labels", action="store_true", help="learn from the soft labels that the set brings")
    evaluating.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a key; may be repeated")
    evaluating.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (default: runs/judged-<name of FOLDER>)")
    _add_how(evaluating)
    evaluating.set_defaults(action=_evaluate)

    exporting = commands.add_parser("export", help="write a distilled set as an image folder, as parquet, or as prototypes")
    exporting.add_argument("run", type=Path, metavar="RUN", help="a run's folder, such as runs/digits")
    exporting.add_argument("--format", required=True, choices=["imagefolder", "parquet", "prototypes"])
    exporting.add_argument("--method", help="such as ddoq (default: the run's first)")
    exporting.add_argument("--k", type=int, help="images per class (default: the largest budget)")
    exporting.add_argument("--seed", type=int, help="of the draw (default: the run's first)")
    exporting.add_argument("--out", type=Path, metavar="DIR", help="the folder to write (default: one in RUN/exports)")
    exporting.set_defaults(action=_export)

    cleaning = commands.add_parser("clean", help="remove what no recipe of a run refers to any more, after saying what")
    cleaning.add_argument("run", type=Path, metavar="RUN", help="a run's folder, such as runs/digits")
    cleaning.add_argument(
        "--keep", action="append", default=[], metavar="RECIPE", help="a recipe whose parts stay too; may be repeated"
    )
    cleaning.add_argument("--yes", action="store_true", help="remove without asking")
    cleaning.set_defaults(action=_clean)
    return parser


def _add_how(command: argparse.ArgumentParser) -> None:
    """How a recipe is run, whichever it is."""
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be made and what it takes: disk, time, memory; and stop. Needs neither data nor models of an "
        "embedded recipe",
    )
    command.add_argument("--why", action="store_true", help="with --dry-run: what each figure is computed from")
    command.add_argument(
        "--verify", action="store_true", help="check the contents of finished parts, not only their sizes and times"
    )
    command.add_argument(
        "--workers", type=int, metavar="N", help="worker processes of one thread each (default: one a processor, or a GPU)"
    )
    command.add_argument(
        "--engine",
        choices=["auto", "local", "ray"],
        default="auto",
        help="who runs them: this machine, or Ray on all nodes (auto: ray where RAY_ADDRESS or train.processes > 1 asks)",
    )


def _run(options: argparse.Namespace, console: Console) -> int:
    if options.dry_run:
        recipe = read(options.recipe, options.set)
        _show_plan(planned(recipe, folder_of(recipe, options.out), until=options.until), recipe, options, console)
        return 0
    began = time.monotonic()
    settings = {
        "out": options.out,
        "set": options.set,
        "until": options.until,
        "verify": options.verify,
        "workers": options.workers,
        "engine": options.engine,
    }
    with Bars(console) if console.is_terminal else nullcontext(Lines(console)) as watcher:
        done = run(options.recipe, **settings, watcher=watcher)
    if done.metrics is not None:
        _show_metrics(done.metrics, console)
    page = done.folder / "report" / "index.html"
    where = f"Report: {page}. " if options.until in (None, "report") else ""
    console.print(f"{where}Took {time.monotonic() - began:.1f} s.", highlight=False, soft_wrap=True)
    return 0


def _show_metrics(metrics: Mapping[str, Any], console: Console) -> None:
    console.print(accuracies(metrics))
    if (table := compared(metrics)) is not None:
        console.print(table)


def _schema(options: argparse.Namespace, console: Console) -> int:
    found = listing(options.section)
    with console.pager(styles=True) if console.is_terminal and options.section is None else nullcontext():
        _show_schema(found, console)
    return 0


def _show_schema(found: Sequence[Listed], console: Console) -> None:
    for each in found:
        source = "  source = " + " or ".join(f'"{one}"' for one in each.sources) if each.sources else ""
        console.print(f"\n[{each.name}]{source}", style="bold", markup=False, highlight=False)
        console.print(each.meaning, markup=False, highlight=False)
        table = Table(box=None, pad_edge=False)
        for column in ("key", "takes", "default"):
            table.add_column(column)
        for option in each.options:
            table.add_row(Text(option.name), Text(option.takes), Text(option.default or "must be given"))
        if each.options:
            console.print(table)


def _status(options: argparse.Namespace, console: Console) -> int:
    _show(plan(options.run), console)
    return 0


def _evaluate(options: argparse.Namespace, console: Console) -> int:
    from distill.runs.external_evaluation import evaluate, evaluation_recipe
    from distill.stages.external_images import brings_labels

    asked = {"protocol": options.protocol, "own_labels": options.own_labels, "set": options.set}
    if options.dry_run:
        recipe = evaluation_recipe(options.folder, options.recipe, **asked)
        _show_plan(planned(recipe, folder_of(recipe, options.out)), recipe, options, console)
        return 0
    if brings_labels(options.folder) and not options.own_labels:
        console.print("The set brings soft labels; the protocol's are used. --own-labels learns from the set's.", soft_wrap=True)
    settings = {"out": options.out, "verify": options.verify, "workers": options.workers, "engine": options.engine}
    with Bars(console) if console.is_terminal else nullcontext(Lines(console)) as watcher:
        done = evaluate(options.folder, options.recipe, **asked, **settings, watcher=watcher)
    if done.metrics is not None:
        _show_metrics(done.metrics, console)
    console.print(f"Report: {done.folder / 'report' / 'index.html'}.", highlight=False, soft_wrap=True)
    return 0


def _export(options: argparse.Namespace, console: Console) -> int:
    from distill.runs.export import export

    done = export(options.run, format=options.format, method=options.method, k=options.k, seed=options.seed, out=options.out)
    what = "prototypes" if options.format == "prototypes" else "images"
    console.print(f"{done.images} {what}: {done.folder}{f'. {done.note}' if done.note else ''}", highlight=False, soft_wrap=True)
    return 0


def _clean(options: argparse.Namespace, console: Console) -> int:
    from distill.runs.garbage_collection import leftovers, remove

    found = leftovers(options.run, [read(source) for source in options.keep])
    if not found:
        console.print("Nothing to remove: the run's recipe refers to all that is there.")
        return 0
    for each in found:
        console.print(f"{each.path.name}: {each.parts} parts, {each.size / 2**20:.1f} MiB", highlight=False, soft_wrap=True)
    size = sum(each.size for each in found) / 2**20
    console.print(
        f"{size:.1f} MiB that neither the recipe given last to {options.run} nor the last finished refers to.",
        highlight=False,
        soft_wrap=True,
    )
    if not options.yes and not _agreed(console):
        return 0
    remove(options.run, found)
    console.print("Removed.")
    return 0


def _agreed(console: Console) -> bool:
    try:
        agreed = console.input("Remove it? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # nobody is there
        console.print("\nNothing was removed, as nobody answers here; --yes removes it without asking.")
        return False
    if not agreed:
        console.print("Nothing was removed.")
    return agreed


def _show(planned: Sequence[Planned], console: Console) -> None:
    table = Table()
    for column in ("stage", "folder", "parts", "done", "missing", "share"):
        table.add_column(column, justify="left" if column in ("stage", "folder") else "right")
    for each in planned:
        counts = map(str, (each.parts, each.done, each.parts - each.done))
        table.add_row(each.stage.title, each.stage.folder_name, *counts, f"{math.floor(100 * each.share)} %")
    console.print(table)


_COLUMNS = ("disk", "work", "wall", "memory", "parts", "done", "missing")


def _show_plan(plan: Plan, recipe: Recipe, options: argparse.Namespace, console: Console) -> None:
    """A line per stage, as soon as it is known."""
    workers = options.workers or (len(gpus()) or 1 if recipe.compute.device == "cuda" else processors())
    kind = "GPU" if recipe.compute.device == "cuda" else "worker"

    def line(*cells: str) -> None:
        first, *rest = cells
        text = f"{first:<{width}}" + "".join(f"{cell:>{12 if i < 4 else 9}}" for i, cell in enumerate(rest))
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    width = max(len(each.title) for each in plan.stages) + 2
    for each in [*(f"{each}." for each in plan.missing), *plan.chosen]:
        console.print(each, highlight=False, markup=False, soft_wrap=True)
    line("", *_COLUMNS)
    found = list[Estimate]()
    for each in plan:
        found.append(each)
        disk, memory = ("?" if value is None else size(value) for value in (each.disk, each.memory))
        work, wall = ("?" if value is None else duration(value) for value in (_seconds(each), each.wall(workers)))
        line(each.stage.title, disk, work, wall, memory, *map(str, (each.parts, each.done, each.parts - each.done)))
    work, wall = sum(_seconds(each) or 0.0 for each in found), sum(each.wall(workers) or 0.0 for each in found)
    disk, left = sum(each.disk or 0.0 for each in found), sum(each.parts - each.done for each in found)
    line("all that is known", size(disk), duration(work), duration(wall), "", "", "", str(left))
    console.print(
        f"work: of one {kind}; wall: by {workers} {kind}{'s' if workers > 1 else ''} (--workers), stage after stage, so rather "
        "too long; memory: the peak of a part, measured or counted; ?: not known until a part is made."
        + ("" if options.why else " --why says what each figure is computed from."),
        highlight=False,
        soft_wrap=True,
    )
    for each in found if options.why else ():
        known = any(figure is not None for figure in (each.disk, each.hours, each.host))
        if known and each.parts > each.done:
            console.print(f"  {each.stage.title}: {each.ground}", highlight=False, markup=False, soft_wrap=True)


def _seconds(each: Estimate) -> float | None:
    return None if each.hours is None else 3600 * each.hours


if __name__ == "__main__":
    sys.exit(main())
