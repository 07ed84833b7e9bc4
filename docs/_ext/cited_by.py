"""Below every source of the bibliography: the pages that cite it."""

from typing import Any

from docutils import nodes


def add_links(app: Any, doctree: nodes.document, docname: str) -> None:
    """Append to every entry of the page links to where it is cited."""
    if docname != "bibliography":
        return
    domain = app.env.get_domain("cite")
    pages: dict[str, set[str]] = {}
    for reference in domain.citation_refs:
        for target in reference.targets:
            pages.setdefault(target.key, set()).add(reference.docname)
    keys = {citation.citation_id: citation.key for citation in domain.citations}
    for entry in doctree.findall(nodes.citation):
        cited = sorted({page for name in entry["ids"] for page in pages.get(keys.get(name, ""), ())})
        if cited:
            line = nodes.paragraph("", "Cited in: ", classes=["cited-by"])
            for i, page in enumerate(cited):
                title = app.env.titles[page].astext()
                line += [nodes.Text(", "), _link(app, title, page)] if i else [_link(app, title, page)]
            entry += line


def _link(app: Any, title: str, page: str) -> nodes.reference:
    address = app.builder.get_relative_uri("bibliography", page)
    return nodes.reference("", title, internal=True, refuri=address)


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("doctree-resolved", add_links)
    return {"parallel_read_safe": True}
