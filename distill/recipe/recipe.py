"""The whole of a recipe, and what its sections must agree on."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, model_validator

from distill.methods import BASES, METHODS, WITH_MASSES
from distill.methods.entry_points import registered
from distill.recipe.codes import Decode, Features, NoPrior, Prior, Select, TrainedPrior
from distill.recipe.compute import Compute
from distill.recipe.images import Codec, Data, NoCodec, TrainedCodec
from distill.recipe.probe import Probe
from distill.recipe.section import Section, distinct, tag
from distill.recipe.students import External, Label, Teacher, Train


def _known_methods(values: list[Any]) -> list[Any]:
    for value in values:
        if value not in METHODS:
            named, ways = ", ".join([*BASES, *registered("select")]), " and ".join(WITH_MASSES)
            raise ValueError(
                f"names no method {value!r}; the methods are {named}; and {ways} with other weights, such as ddoq-sqrt, "
                "nearest-mass or ddoq-power(a)"
            )
    known: dict[Any, Any] = {}
    for value in values:
        same = known.setdefault(METHODS[value].does, value)
        if same != value:
            raise ValueError(f"must not repeat an entry, and {value!r} is {same!r} by another name")
    return distinct(values)


def _distinct_pairs(values: list[list[str]]) -> list[list[str]]:
    if len({frozenset(pair) for pair in values}) < len(values) or any(first == second for first, second in values):
        raise ValueError("must be pairs of two methods each, and no pair twice")
    return values


Pair = Annotated[list[str], Field(min_length=2, max_length=2)]


Space = Literal["latent", "features", "pixels"]

Students = Annotated[
    Annotated[Train, tag("network")] | Annotated[Probe, tag("probe")],
    Discriminator(lambda value: "<probe>" if _protocol(value) == "probe" else "<network>"),
]


def _protocol(value: Any) -> Any:
    return value.get("protocol") if isinstance(value, dict) else getattr(value, "protocol", None)


class Recipe(Section):
    """All of a run. name: of its folder.

    seeds: each varies the random draw, the quantization, the decoding noise and the student.
    comparisons: up to four pairs of methods, such as ["nearest", "random"], whose differences are what the run is made for: named
    before it, and reported with intervals.
    methods: what is compared (``distill.methods``). distances: the spaces in which sets are measured by exact transport, of
    ``latent``, ``features`` and ``pixels``; by default the latents, where images are encoded, and the features, where codes are.
    stages: more stages, which packages register, with the options of each.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(distinct)]
    methods: Annotated[list[str], Field(min_length=1), AfterValidator(_known_methods)]
    comparisons: Annotated[list[Pair], Field(max_length=4), AfterValidator(_distinct_pairs)] = Field(default_factory=list)
    data: Data
    codec: Codec
    prior: Prior
    teacher: Teacher
    features: Features | None = None
    select: Select
    decode: Decode
    external: External | None = None
    label: Label = Label()
    train: Students
    compute: Compute = Compute()
    distances: Annotated[list[Space], AfterValidator(distinct)] | None = None
    stages: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @property
    def probe(self) -> Probe | None:
        """The students' section where they are linear classifiers on features."""
        return self.train if isinstance(self.train, Probe) else None

    @property
    def measured(self) -> list[str]:
        """The spaces in which the sets' images are measured."""
        if self.distances is not None:
            return list(self.distances)
        return [
            *([] if isinstance(self.codec, NoCodec) else ["latent"]),
            *(["features"] if self.select.space == "features" else []),
        ]

    def codes_suffice(self, method: str) -> bool:
        """Whether students of a method learn from codes as they are, of which no images are made."""
        return self.probe is not None and self.probe.inputs == "codes" and METHODS[method].select in ("quantize", "balanced")

    @model_validator(mode="after")
    def _external_where_asked(self) -> "Recipe":
        if ("external" in self.methods) != (self.external is not None):
            raise ValueError("the method 'external' and the section [external] belong together: set both, or none")
        return self

    @model_validator(mode="after")
    def _compared_methods_take_part(self) -> "Recipe":
        strange = [name for pair in self.comparisons for name in pair if name not in self.methods]
        if strange:
            raise ValueError(
                f"comparisons names {strange[0]!r}, which is none of the recipe's methods, {', '.join(self.methods)}"
            )
        return self

    @model_validator(mode="after")
    def _features_and_latents_where_asked(self) -> "Recipe":
        if self.select.space == "features" and self.features is None:
            raise ValueError('select.space = "features" needs the section [features], which says of which network')
        decoded = [name for name in self.methods if METHODS[name].decode == "diffusion" and not self.codes_suffice(name)]
        if "latent" in self.measured and isinstance(self.codec, NoCodec):
            raise ValueError('distances names latents, and codec.source = "none" encodes nothing; take one of the two out')
        if "features" in self.measured and self.features is None:
            raise ValueError("distances names features; the section [features] says of which network")
        if self.probe is not None:
            self._check_probe(self.probe)
        if isinstance(self.codec, NoCodec) and self.select.space != "features":
            raise ValueError(f'codec.source = "none" leaves no space but features; select.space is {self.select.space!r}')
        if isinstance(self.codec, NoCodec) and not isinstance(self.prior, NoPrior):
            raise ValueError('codec.source = "none" leaves a prior nothing to sample; take prior.source = "none" as well')
        if isinstance(self.codec, NoCodec) and decoded:
            raise ValueError(f"codec.source = none decodes nothing; leave out the method {decoded[0]}, or take a codec")
        return self

    @model_validator(mode="after")
    def _labels_reach_everything(self) -> "Recipe":
        train = self.train
        scopes = {labels: train.scope(labels) for labels in train.regimes}
        for key, known in (("k", self.select.budgets), ("methods", self.methods)):
            for labels, scope in scopes.items():
                strange = [each for each in getattr(scope, key) or [] if each not in known]
                if strange:
                    named = ", ".join(map(str, known))
                    raise ValueError(f"train.only.{labels}.{key} names {strange[0]!r}; it takes some of the recipe's, {named}")
            left = [each for each in known if not any(each in (getattr(scope, key) or known) for scope in scopes.values())]
            if left:
                what = "the method" if key == "methods" else "select.k ="
                raise ValueError(f"train.only leaves {what} {left[0]!r} without students; name it there, or take it out")
        for pair in self.comparisons:
            if not any(set(pair) <= set(scope.methods or self.methods) for scope in scopes.values()):
                raise ValueError(f"comparisons names {pair[0]} and {pair[1]}, which train.only lets meet under no labels")
            if "external" in pair and "full" not in pair and self.external and self.external.ipc not in self.select.budgets:
                raise ValueError(
                    f"comparisons names external, of external.ipc = {self.external.ipc} images per class, and select.k = "
                    f"{self.select.k} holds no such budget; add it"
                )
        if self.external is not None and self.external.labels == "own" and len(train.regimes) > 1:
            raise ValueError(f"external.labels = 'own' is one regime; train.labels names {', '.join(train.regimes)}: take one")
        return self

    def _check_probe(self, probe: Probe) -> None:
        if self.features is None or self.select.space != "features":
            raise ValueError(
                f'train.protocol = "probe" learns from features: give the section [features], and select.space = "features" '
                f"(it is {self.select.space!r})"
            )
        if self.external is not None:
            raise ValueError("an external set is images; the probe compares ways to select among these: take another protocol")
        codes = [name for name in self.methods if self.codes_suffice(name)]
        if codes and "fixed" in probe.regimes:
            raise ValueError(
                f"fixed labels are the teacher's of images, and {codes[0]} is learned from as codes: train.inputs = 'images', "
                "or train.labels = 'hard'"
            )
        decoded = [name for name in self.methods if METHODS[name].decode == "diffusion" and not self.codes_suffice(name)]
        if decoded and self.features.image_size not in (None, self.data.size):
            raise ValueError(
                f"the probe compares images of {decoded[0]}, of data.size = {self.data.size}, with real ones read at "
                f"features.image_size = {self.features.image_size}; leave that out"
            )

    @model_validator(mode="after")
    def _latents_fall_into_patches(self) -> "Recipe":
        if not (isinstance(self.codec, TrainedCodec) and isinstance(self.prior, TrainedPrior)):
            return self
        side, rest = divmod(self.data.size, 2 ** (len(self.codec.channels) - 1))
        if rest or side % 2:
            raise ValueError(
                f"codec.channels has {len(self.codec.channels)} levels, so latents of data.size/2^(levels - 1) = "
                f"{self.data.size / 2 ** (len(self.codec.channels) - 1):g} a side; the prior needs an even side: use fewer"
            )
        return self

    @model_validator(mode="after")
    def _inversion_has_its_prior_and_scheduler(self) -> "Recipe":
        if self.select.space == "noise" or self.decode.start == "inverted":
            key = 'select.space = "noise"' if self.select.space == "noise" else 'decode.start = "inverted"'
            if isinstance(self.prior, NoPrior):
                raise ValueError(f"{key} needs a prior to invert; prior.source is none")
            if self.decode.scheduler != "ddim":
                raise ValueError(f"{key} inverts DDIM; decode.scheduler is {self.decode.scheduler}")
            if self.decode.strength == 0:
                raise ValueError(f"{key} inverts up to decode.strength of the time, which is 0")
        return self

    @model_validator(mode="after")
    def _streaming_is_clvqs_own(self) -> "Recipe":
        if self.select.streaming and self.select.solver != "clvq":
            raise ValueError(f"select.streaming is for select.solver = clvq; received {self.select.solver}")
        if self.select.streaming and self.select.init == "balanced":
            raise ValueError(
                "select.init = balanced needs all points of a class at once; leave out select.streaming or select.init"
            )
        if self.select.streaming and self.select.medoids:
            raise ValueError("select.medoids needs all latents of a class at once; leave out select.streaming or select.medoids")
        return self
