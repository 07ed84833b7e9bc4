"""How Sphinx builds the site: ``make docs``. Nothing is fetched while it builds, and the pages need no network either."""

import os
import sys
from importlib.metadata import version as installed
from pathlib import Path

from numpydoc.xref import DEFAULT_LINKS

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from versions import folder  # noqa: E402

import quantization  # noqa: E402

project = "optimal-quantization"
author = "The authors of optimal-quantization"
version = release = installed("optimal-quantization")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "numpydoc",
    "sphinxcontrib.bibtex",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "docstrings",
    "examples_using",
    "theorem_pages",
    "command_pages",
    "cited_by",
]
exclude_patterns = ["_ext", "_templates", "reference/backreferences", "theorems/summary.md"]
templates_path = ["_templates"]
nitpicky = True
suppress_warnings = ["myst.header"]  # pages that commands write have headings as deep as their sections ask for

# Pages are MyST Markdown, with LaTeX between dollars.
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
mathjax3_config = {"chtml": {"displayAlign": "left", "displayIndent": "2em"}}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
bibtex_reference_style = "author_year"

# A page for every public name; parameters have their types in the docstrings.
autosummary_generate = True
autosummary_imported_members = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
# Types of parameters that are public names here are links; other words stay words.
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = {name: name for name in DEFAULT_LINKS} | {name: f"quantization.{name}" for name in quantization.__all__}

# The gallery: ``-D plot_gallery=0`` makes its pages without running the scripts.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "subsection_order": [f"../examples/{name}" for name in ("quantizers", "transport", "applications", "distillation", "theory")],
    "filename_pattern": r"\.py$",
    "backreferences_dir": "reference/backreferences",
    "doc_module": ("quantization", "theory_checks", "distill"),
    "inspect_global_variables": False,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "remove_config_comments": True,
    "matplotlib_animations": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "optimal-quantization"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "optimal-quantization"},
    "navbar_end": ["theme-switcher"],
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["version"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": []}
# What is published stands in a folder per version; elsewhere there is no other version to choose.
if ref := os.environ.get("DOCS_REF"):
    html_theme_options |= {
        "navbar_end": ["version-switcher", "theme-switcher"],
        "switcher": {"json_url": "../switcher.json", "version_match": folder(ref)},
        "check_switcher": False,  # it is made of the folders
    }
