"""What a run shows: a progress bar and a table on a terminal, plain lines elsewhere."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

try:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Table
    from rich.text import Text
except ImportError as error:
    raise ImportError("theory_checks.console needs rich: pip install 'optimal-quantization[theory]'") from error

from theory_checks.report import margin
from theory_checks.trial import Finding, Verdict


@contextmanager
def progress(console: Console, cases: int) -> Generator[Callable[[str], None], None, None]:
    """Yields a function to call with the name of a claim whenever one of its cases is done."""
    if not console.is_terminal:
        yield lambda name: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("cases", total=cases)
        yield lambda name: bar.update(task, description=name.replace("_", " "), advance=1)


def tell(console: Console, finding: Finding) -> None:
    """A line on one finding, where there is no table to follow."""
    if not console.is_terminal:
        print(
            f"{finding.verdict.value:>5}  {finding.claim.name} ({finding.claim.reference}): {len(finding.trials)} cases, "
            f"worst margin {margin(finding)}, {finding.seconds:.1f} s",
            flush=True,
        )


def show(console: Console, findings: Sequence[Finding]) -> None:
    """The table of a run, on a terminal."""
    if not console.is_terminal:
        return
    table = Table(show_lines=True)
    for heading, style in (("statement", ""), ("source", "cyan"), ("laws tried", ""), ("worst margin", ""), ("verdict", "")):
        table.add_column(heading, style=style, justify="right" if heading == "worst margin" else "left", overflow="fold")
    for f in findings:
        good = f.verdict is Verdict.HOLDS
        table.add_row(
            Text(f"{f.claim.name}\n{f.claim.statement}"),
            f.claim.reference,
            Text(f"{f.claim.laws.words}; {len(f.trials)} cases"),
            margin(f),
            Text(f.verdict.value, style="green" if good else "bold red"),
        )
    console.print(table)
