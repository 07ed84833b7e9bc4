"""The report as one HTML page, readable offline, its pictures beside it: values into ``templates/page.html``."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from distill.methods import METHODS
from distill.report.comparisons import cells
from distill.report.table import best, decoding, interval, left_out, number, recognized, size, space, teacher, top1


def render(report: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """The page for a report's values and the names of its pictures."""
    page = environment().get_template("page.html")
    sheets = [picture for picture in reversed(pictures) if picture.startswith("images-")]
    said: dict[str, Any] = {"teacher": teacher(report), "left_out": left_out(report)}
    said |= {"recognized": recognized(report["rows"]), "decoding": decoding(report), "best": best(report["rows"])}
    said |= {"measured": space(report), "below": report.get("below", False)}
    said["groups"] = [list(some) for _, some in groupby(report["rows"], key=itemgetter("labels"))]
    return page.render({**report, **said}, methods=METHODS, pictures=pictures, sheets=sheets)


def environment() -> Environment:
    """Templates of this package: whatever is put into HTML is escaped, and what is missing is an error."""
    found = Environment(
        loader=PackageLoader("distill.report"),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {"top1": top1, "number": number, "size": size, "interval": interval, "cells": cells}
    return found
