"""The section of students that are linear classifiers on frozen features: seconds each."""

from typing import Literal

from pydantic import model_validator

from distill.recipe.students import Positive, Scoped


class Probe(Scoped):
    """Weighted multinomial logistic regression on the features of [features], the same for every method.

    protocol: ``probe``. inputs: ``codes`` as they are, in the space of features, or the features of the ``images`` made of them;
    those of real images are the same. ridge: ρ of the penalty ½ρ|W|², for features of unit scale. labels: ``hard``, ``fixed``
    (the teacher's soft labels of the images), or both. temperature: of soft labels. only: what a regime is restricted to.
    """

    protocol: Literal["probe"]
    inputs: Literal["codes", "images"] = "codes"
    ridge: Positive = 1e-2
    temperature: Positive = 4.0

    @property
    def processes(self) -> int:
        """One fits a classifier."""
        return 1

    @model_validator(mode="after")
    def _labels_of_images(self) -> "Probe":
        for labels in self.regimes:
            if labels not in ("hard", "fixed"):
                raise ValueError(f"labels of a probe are 'hard' or 'fixed'; {labels!r} are of augmented images, and it sees none")
        return self
