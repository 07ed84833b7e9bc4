"""One folder per version: ``python docs/_ext/versions.py SITE PAGES --ref refs/tags/v0.2.1 --base /optimal-quantization/``.

The built SITE becomes ``PAGES/v0.2``, that of the main branch ``PAGES/dev``. ``PAGES/switcher.json`` lists the folders that are
there for the theme's menu; ``PAGES/index.html`` leads to the latest release, or to ``dev`` where there is none.
"""

import argparse
import json
import re
import shutil
from pathlib import Path


def folder(ref: str) -> str:
    """The folder of what a Git reference is the documentation of."""
    if ref == "refs/heads/main":
        return "dev"
    if found := re.fullmatch(r"refs/tags/(v\d+\.\d+)\.\d+", ref):
        return found[1]
    raise SystemExit(f"--ref must be refs/heads/main or a tag such as refs/tags/v1.2.3; received {ref}")


def publish(site: Path, pages: Path, ref: str, base: str) -> None:
    """Put a site among the others, and write what leads to them."""
    shutil.rmtree(pages / folder(ref), ignore_errors=True)
    shutil.copytree(site, pages / folder(ref))
    names = [path.name for path in pages.iterdir() if re.fullmatch(r"v\d+\.\d+", path.name)]
    releases = sorted(names, key=lambda name: tuple(map(int, name[1:].split("."))), reverse=True)
    entries = [{"version": name, "url": f"{base}{name}/"} for name in releases]
    if entries:
        entries[0] |= {"name": f"{releases[0]} (stable)", "preferred": True}
    if (pages / "dev").is_dir():
        entries.append({"version": "dev", "url": f"{base}dev/"})
    (pages / "switcher.json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    first = f"{[*releases, 'dev'][0]}/index.html"
    head = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={first}">'
    (pages / "index.html").write_text(f'{head}<a href="{first}">{first}</a>\n', encoding="utf-8")
    (pages / ".nojekyll").touch()  # GitHub leaves out folders such as _static otherwise


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("pages", type=Path)
    parser.add_argument("--ref", required=True)
    parser.add_argument("--base", required=True, help="the path at which PAGES are served, from / to /")
    given = parser.parse_args()
    publish(given.site, given.pages, given.ref, given.base)
