"""Pages of the theorems, a page a topic, written before the site is built: the statements and what is behind them from the code,
the numbers from the record of the last full run, ``docs/results/theorems.json``, and of them figures where curves are missing."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

from theory_checks import CLAIMS
from theory_checks.figures import extremes

HERE = Path(__file__).parents[1]
TITLES = {
    "barycenters": "Barycenters",
    "clvq": "Competitive learning",
    "consistency": "Consistency",
    "corollary": "Rates after a diffusion",
    "cubature": "Cubature and control variates",
    "diffusions": "Recursive quantization",
    "distillation": "Training on weighted codes",
    "dual": "Dual grids and convex functions",
    "equal_weights": "Masses against equal weights",
    "functional": "Paths of Gaussian processes",
    "gaussians": "Gaussians and prescribed masses",
    "grids": "Products and greedy sequences",
    "invariance": "Invariance",
    "lloyd": "Lloyd's algorithm",
    "masses": "Prescribed masses",
    "pushforward": "Maps of laws",
    "reverse_diffusion": "Reverse diffusions",
    "sample_weights": "Sample weights",
    "space": "Asymptotics in the plane and in space",
    "stratified_sampling": "Stratified sampling",
    "transport": "Optimal transport",
    "voronoi": "Voronoi cells",
    "zador": "Asymptotics on the line",
}

NAMES = {word.lower(): word for word in ("Gaussians", "K", "Laplace", "Lipschitz", "Lloyd", "Newton", "SDE", "Shannon", "Zador")}


def pages(record: dict[str, Any]) -> dict[str, str]:
    """Markdown by the name of a topic, and ``summary``."""
    measured = {claim["name"]: claim for claim in record["claims"]}
    topics = {
        topic: [c for c in CLAIMS.values() if c.topic == topic] for topic in dict.fromkeys(c.topic for c in CLAIMS.values())
    }
    made = {topic: _page(topic, claims, measured) for topic, claims in topics.items()}
    return {**made, "summary": _summary(record, topics, measured)}


def _summary(record: dict[str, Any], topics: dict[str, list[Any]], measured: dict[str, Any]) -> str:
    held = sum(claim["verdict"] == "holds" for claim in record["claims"])
    cases = sum(sum(claim["cases"].values()) for claim in record["claims"])
    lines = [
        f"{held} of {len(record['claims'])} claims hold on {cases} cases, each with its false variant rejected: "
        f"`python -m theory_checks run --profile {record['profile']} --seed {record['seed']}` on {record['made']} "
        f"({record['machine']}, {record['processes']} processes, {record['seconds']:.0f} s). By chance such a run refuses a true "
        f"claim with probability at most {record['false_alarms']:.1e}.",
        "",
        "| topic | claims | that hold |",
        "|---|---|---|",
    ]
    for topic, claims in topics.items():
        links = "; ".join(f"[{_words(c.name)}](theorems/{topic}.md#{_slug(c.name)})" for c in claims)
        good = sum(measured.get(c.name, {}).get("verdict") == "holds" for c in claims)
        lines.append(f"| [{TITLES.get(topic, _words(topic))}](theorems/{topic}.md) | {links} | {good} of {len(claims)} |")
    return "\n".join(lines) + "\n"


def _page(topic: str, claims: list[Any], measured: dict[str, Any]) -> str:
    module = inspect.getmodule(claims[0].check)
    lines = [f"# {TITLES.get(topic, _words(topic))}", "", _markdown(module.__doc__ if module else ""), ""]
    for claim in claims:
        lines += [f"## {_words(claim.name)}", "", "```{admonition} Statement", "", _markdown(claim.statement), ""]
        lines += [
            f"{{cite:t}}`{claim.reference}`. Checked on: {claim.laws.words.replace('R^d', '$R^d$')}.",
            "```",
            "",
            _markdown(claim.check.__doc__),
            "",
        ]
        if claim.controlled:
            lines += ["**A false variant that the check must reject.** " + _markdown(claim._control.__doc__), ""]
        lines += [*_numbers(measured.get(claim.name)), ""]
        if claim.name in measured:
            folder = "../results/theorems/" if _has_curves(claim.name) else ""
            lines += [f"![{_alternative(measured[claim.name])}]({folder}{claim.name}.png){{.chart}}", ""]
        lines += [":::{dropdown} The check", f"```{{literalinclude}} /../theory_checks/claims/{topic}.py"]
        lines += [f":pyobject: {claim.name}", "```", f'`theory_checks.CLAIMS["{claim.name}"]`', ":::", ""]
    return "\n".join(lines)


def figures(record: dict[str, Any]) -> dict[str, bytes]:
    """A PNG by the name of every claim that has no curves: where its extremes lie."""
    return {
        claim["name"]: extremes(_words(claim["name"]), *((claim[key] or {}).get("excess") for key in ("worst", "control")))
        for claim in record["claims"]
        if not _has_curves(claim["name"])
    }


def _has_curves(name: str) -> bool:
    return (HERE / "results" / "theorems" / f"{name}.png").exists()


def _alternative(claim: dict[str, Any]) -> str:
    """What the figure shows, in words."""
    said = [f"{_words(claim['name'])}."]
    for name, key in (("The case nearest to failing", "worst"), ("The false variant", "control")):
        if found := claim[key]:
            numbers = ", ".join(f"{part} {_number(found.get(part))}" for part in ("observed", "bound", "slack"))
            said.append(f"{name}: {numbers}.")
    return " ".join(said)


def _numbers(claim: dict[str, Any] | None) -> list[str]:
    if claim is None:
        return ["Not part of the last full run."]
    cases = sum(claim["cases"].values())
    rows = ["| | observed | bound | slack | case |", "|---|---|---|---|---|"]
    for name, found in ((f"nearest to failing of {cases}", claim["worst"]), ("false variant", claim["control"])):
        if found is not None and found.get("slack") is not None:
            c = found["case"]
            case = f"{c['kind']}, d = {c['dim']}, size {c['size']}, K = {c['k']}, seed {c['seed']}"
            rows.append(
                f"| {name} | {_number(found['observed'])} | {_number(found['bound'])} | {_number(found['slack'])} | {case} |"
            )
    return [f"**{claim['verdict'].capitalize()}** on {cases} cases.", "", *rows]


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}".replace("-", "−")


def _words(name: str) -> str:
    words = [NAMES.get(word, word) for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def _slug(name: str) -> str:
    return name.replace("_", "-")


def _markdown(text: str | None) -> str:
    """A docstring as Markdown: sources are cited, roles become code."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", inspect.cleandoc(text or ""))
    return re.sub(
        r"Source: ([a-z]+\d{4}[a-z]*(?:, [a-z]+\d{4}[a-z]*)*)\.",
        lambda m: "Source: " + ", ".join(f"{{cite:t}}`{key}`" for key in m[1].split(", ")) + ".",
        text,
    )


def write(app: Any) -> None:
    """Write the pages and figures that changed."""
    folder = Path(app.srcdir) / "theorems"
    folder.mkdir(exist_ok=True)
    record = json.loads((Path(app.srcdir) / "results" / "theorems.json").read_text(encoding="utf-8"))
    made = {f"{name}.md": text.encode() for name, text in pages(record).items()}
    made |= {f"{name}.png": png for name, png in figures(record).items()}
    for old in folder.iterdir():
        if old.name not in made:
            old.unlink()
    for name, content in made.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
