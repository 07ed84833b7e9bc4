"""``.. examples-using:: name``: thumbnails of the gallery's examples that use a public name; nothing where there is none."""

from pathlib import Path
from typing import Any

from sphinx.util.docutils import SphinxDirective


class ExamplesUsing(SphinxDirective):
    """A heading and sphinx-gallery's ``minigallery``, where it is not empty."""

    required_arguments = 1

    def run(self) -> list[Any]:
        """The nodes."""
        name = self.arguments[0]
        found = Path(self.env.srcdir) / self.config.sphinx_gallery_conf["backreferences_dir"] / f"{name}.examples"
        if not found.exists() or not found.read_text(encoding="utf-8").strip():
            return []
        text = f".. rubric:: Examples using ``{name.rpartition('.')[2]}``\n\n.. minigallery:: {name}\n"
        return self.parse_text_to_nodes(text)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_directive("examples-using", ExamplesUsing)
    return {"parallel_read_safe": True}
