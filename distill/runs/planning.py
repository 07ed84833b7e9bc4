"""Plans: what a recipe will take, told stage by stage, also before its data and models are here."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.estimate import Estimate, check_disk, estimate
from distill.graph import build
from distill.images import Images, load
from distill.images.layout import check_apart, chosen
from distill.images.nominal import nominal
from distill.models.pretrained import shapes_of
from distill.pipeline.stage import Stage, ordered
from distill.pipeline.store import Store
from distill.recipe import Recipe, RecipeError
from distill.recipe.codes import PretrainedPrior
from distill.recipe.images import DigitsData, PretrainedCodec
from distill.runs.folder import upto
from distill.stages.pretrained_network import PretrainedNetworkStage


@dataclass(frozen=True)
class Plan:
    """The stages of a recipe in a folder; iterating estimates one after another. missing: what must be fetched before a run.
    chosen: what was found and chosen in folders of one's own, in sentences.

    A disk too small is refused after the last.
    """

    stages: Sequence[Stage]
    folder: Path
    missing: Sequence[str] = ()
    chosen: Sequence[str] = ()

    def __iter__(self) -> Iterator[Estimate]:
        store, found = Store(self.folder), list[Estimate]()
        for stage in self.stages:
            found.append(estimate(stage, store))
            yield found[-1]
        check_disk(found, self.folder)


def planned(recipe: Recipe, folder: str | Path, *, until: str | None = None) -> Plan:
    """The plan of what is left of a recipe in a folder. Writes nothing.

    Images and models that are not here stand in by the numbers and shapes that ship for the folders of the embedded recipes.
    Raises RecipeError for what would be refused before work begins.
    """
    known, nominals, missing = _nominal(recipe)
    images = nominals or load(known.data)
    check_apart(known.data, Path(folder))
    stages = upto(build(known, images), until)
    reasons = unobtainable(stages, Store(Path(folder)))
    if reasons and not missing:
        raise RecipeError("\n".join(reasons))
    return Plan(stages, Path(folder), [*missing, *reasons], chosen(known, images))


def unobtainable(stages: Sequence[Stage], store: Store) -> list[str]:
    """What is to be fetched hours from now and is not to be had, as on a node without network, in sentences.

    Weights of timm's and torchvision's networks are in the run once they were fetched; a codec's or a prior's are read as long as
    something is missing.
    """
    missing = [stage for stage in stages if not all(store.holds(stage, part) for part in stage.parts())]
    needed = dict.fromkeys(
        each for stage in missing for each in ordered(stage) if each in missing or not isinstance(each, PretrainedNetworkStage)
    )
    return [reason for stage in needed if (reason := stage.unobtainable())]


def _nominal(recipe: Recipe) -> tuple[Recipe, Images | None, list[str]]:
    """The recipe, and its images if they are not those that lie here, with what stands in for others in words."""
    missing, images = list[str](), None
    if not isinstance(recipe.data, DigitsData) and not Path(recipe.data.path).exists() and (images := nominal(recipe.data)):
        counts = f"{len(images.train):,} and {len(images.test):,} images of {len(images.classes):,} classes"
        missing.append(f"data.path = {recipe.data.path!r} is not here: planned for {counts}")
    changes = {}
    for key, section in (("codec", recipe.codec), ("prior", recipe.prior)):
        if isinstance(section, PretrainedCodec | PretrainedPrior) and not Path(section.path).is_dir():
            shapes = shapes_of(section.path)
            if shapes is not None:
                changes[key] = section.model_copy(update={"path": str(shapes)})
                missing.append(f"{key}.path = {section.path!r} is not here: planned for a model of its shapes")
    return recipe.model_copy(update=changes), images, missing
