"""Names of classes: ImageNet's by WordNet id, out of timm, and the lists of classes that subsets are made of."""

import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module, resources
from pathlib import Path

from distill.recipe import RecipeError

_WORDNET = re.compile(r"n\d{8}")


def namer(own: Mapping[str, str]) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """From classes to names: those a recipe gives, WordNet's first lemma of an id, and else the class as it is written."""

    def names(classes: tuple[str, ...]) -> tuple[str, ...]:
        wanted = {key for key in classes if key not in own and _WORDNET.fullmatch(key)}
        lemmas = _lemmas(wanted) if wanted else {}
        return tuple(own.get(key) or lemmas.get(key) or key for key in classes)

    return names


def imagenet_classes() -> tuple[str, ...]:
    """The WordNet ids of ImageNet-1K in the order of its whole-number labels."""
    return tuple(import_module("timm.data").ImageNetInfo("imagenet-1k").label_names())


def subset(wanted: str | Sequence[str]) -> tuple[str, ...]:
    """The classes of a subset: of a list that ships with the package, of a text file (one per line, # comments), or given."""
    if not isinstance(wanted, str):
        return _distinct("data.subset", tuple(wanted))
    shipped = subsets()
    if wanted in shipped:
        text = (resources.files("distill") / "images" / "subsets" / f"{wanted}.txt").read_text(encoding="utf-8")
    elif Path(wanted).expanduser().is_file():
        text = Path(wanted).expanduser().read_text(encoding="utf-8")
    else:
        raise RecipeError(f"data.subset: no list is called {wanted!r} and no file is; the lists are {', '.join(shipped)}")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return _distinct(f"the subset {wanted}", tuple(line for line in lines if line))


def subsets() -> list[str]:
    """The names of the subsets that ship with the package."""
    folder = resources.files("distill") / "images" / "subsets"
    return sorted(entry.name.removesuffix(".txt") for entry in folder.iterdir() if entry.name.endswith(".txt"))


def _distinct(what: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({key for key in classes if classes.count(key) > 1})
    if twice or not classes:
        raise RecipeError(f"{what} must name classes, each once; received {f'{twice[0]!r} twice' if twice else 'none'}")
    return classes


def _lemmas(ids: set[str]) -> dict[str, str]:
    """The first lemma of each WordNet id that timm knows: "tench" of "tench, Tinca tinca"."""
    info = import_module("timm.data").ImageNetInfo("imagenet-1k")
    found: dict[str, str] = {}
    for key in ids:
        try:
            found[key] = info.label_name_to_description(key).split(",")[0].strip()
        except KeyError:
            continue
    return found
