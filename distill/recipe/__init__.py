"""A recipe: every option of a run, in TOML, checked strictly before any data or model is touched.

``section`` (what sections are made of), ``compute``, ``images``, ``codes``, ``students``, ``probe`` (the sections, in the
pipeline's order), ``recipe`` (the whole), ``reading`` (from files and the command line), ``listing`` (what there is, for who
writes one).
"""

from distill.recipe.codes import Decode, Prior, Select
from distill.recipe.compute import Compute
from distill.recipe.images import Codec, Data
from distill.recipe.listing import Listed, listing
from distill.recipe.probe import Probe
from distill.recipe.reading import check, embedded, keys, read
from distill.recipe.recipe import Recipe
from distill.recipe.section import RecipeError, Section, Training
from distill.recipe.students import Label, PretrainedTeacher, Teacher, Train, TrainedTeacher

__all__ = [
    "Codec",
    "Compute",
    "Data",
    "Decode",
    "Label",
    "Listed",
    "PretrainedTeacher",
    "Prior",
    "Probe",
    "Recipe",
    "RecipeError",
    "Section",
    "Select",
    "Teacher",
    "Train",
    "TrainedTeacher",
    "Training",
    "check",
    "embedded",
    "keys",
    "listing",
    "read",
]
