"""The report as one HTML page, readable offline, its pictures beside it."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from distill.methods import METHODS
from distill.report.table import number, size, teacher, top1

_CAPTIONS = {
    "accuracy.png": "Students' top-1 on real images against images per class, after the last step: mean ± standard "
    "deviation over seeds.",
    "distortion.png": "Squared Wasserstein distance in latent space between each class and what stands for it, before decoding. "
    "With cell masses it is the distortion.",
    "weights.png": "Weights of the distilled images relative to equal ones.",
}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 2rem 0; } img { max-width: 100%; } figcaption, .note { color: #555; font-size: .9rem; }
"""


def render(report: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """The page for a report's values and the names of its pictures."""
    name = html.escape(report["recipe"]["name"])
    sheets = [picture for picture in pictures if picture.startswith("images-")]
    others = [picture for picture in pictures if not picture.startswith("images-")]
    body = [
        f"<h1>Distilled: {name}</h1>",
        _accuracies(report),
        _checks(report["checks"]),
        *(_figure(picture, _CAPTIONS.get(picture, "")) for picture in others),
        "<h2>Distilled images</h2><p>A row a class, heaviest first; above each image its share of the class.</p>",
        *(
            _figure(picture, f"{picture.removeprefix('images-ipc').removesuffix('.png')} per class")
            for picture in reversed(sheets)
        ),
        _stages(report["stages"], report["environment"]),
    ]
    head = f"<meta charset='utf-8'><title>{name}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(body)}</body></html>\n"


def _accuracies(report: Mapping[str, Any]) -> str:
    rows, recipe, split = report["rows"], report["recipe"], report["split"]
    cells = [
        [
            row["method"],
            "all" if row["ipc"] is None else row["ipc"],
            top1(row),
            f"{row['best_mean']:.4f}",
            f"{row['top5_mean']:.4f}",
            row["seeds"],
            size(row["label_bytes"]),
            number(row["w2_latent"]),
            number(row["w2_decoded"]),
        ]
        for row in rows
    ]
    legend = "; ".join(f"<b>{name}</b> {html.escape(METHODS[name].summary)}" for name in recipe["methods"])
    known = html.escape(teacher(report) or "No teacher labels here.")
    note = (
        f"{known} Top-1 as a fraction, on the {split} split, real images that nothing was trained on; "
        f"{html.escape(str(rows[0]['student']))}, {recipe['train']['protocol']} protocol for every method. "
        "<i>last</i>: after the last step, mean "
        "± standard deviation over seeds. <i>best</i>: the best of several looks at that split, so too high. <i>labels</i>: "
        "what a student's soft labels take on disk. <i>W₂</i>: "
        "between the encoded class and its codes before decoding; <i>decoded</i>: the same after decoding and encoding again."
    )
    return (
        f"<p>{legend}.</p>"
        + _table(["method", "images per class", "top-1 last", "best", "top-5", "seeds", "labels", "W₂", "W₂ decoded"], cells)
        + f"<p class='note'>{note}</p>"
    )


def _checks(checks: Mapping[str, Any]) -> str:
    if not checks["codebooks"]:
        return ""
    return (
        f"<p>Over {checks['codebooks']} codebooks: |W₂² − D| / D with cell masses at most "
        f"{checks['w2_squared_minus_distortion_relative_max']:.1e} (zero in exact arithmetic); (W₂²(masses) − W₂²(uniform)) / D "
        f"at most {checks['mass_minus_uniform_w2_squared_relative_max']:.1e} (never positive).</p>"
    )


def _stages(stages: Sequence[Mapping[str, Any]], environment: Mapping[str, Any]) -> str:
    cells = [
        [s["title"], s["parts"], f"{s['wall_s']:.1f}", f"{s['work_s']:.1f}", f"{s['peak_memory_bytes'] / 2**20:.0f}"]
        for s in stages
    ]
    processors = f"{environment.get('processor')}, {environment.get('processors')} processors"
    machine = f"{processors}, {environment.get('workers') or 'a cluster of'} workers of one thread each"
    return (
        "<h2>Time and memory</h2>"
        + _table(["stage", "parts", "wall s", "work s", "peak MiB of a worker"], cells)
        + f"<p class='note'>Stages overlap: each worker takes the next part that is ready. {html.escape(machine)}.</p>"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["".join(f"<th>{html.escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) for row in rows]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _figure(name: str, caption: str) -> str:
    name, caption = html.escape(name), html.escape(caption)
    return f"<figure><img src='{name}' alt='{caption}'><figcaption>{caption}</figcaption></figure>"
