"""What the workflow publishes: a folder a version, the list that the theme's menu reads, the way to the latest release."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
REFS = ["refs/heads/main", "refs/tags/v0.9.0", "refs/tags/v0.10.0", "refs/tags/v0.9.1"]


def git(*arguments, cwd):
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    return subprocess.run(["git", *author, *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def publish(tmp_path):
    """The workflow's own step, with a bare repository in the place of GitHub's; its pages afterwards."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "docs.yml").read_text(encoding="utf-8"))
    (script,) = [step["run"] for step in workflow["jobs"]["publish"]["steps"] if step.get("name") == "publish"]
    git("init", "--quiet", "--bare", "--initial-branch=main", "origin", cwd=tmp_path)
    git("clone", "--quiet", "origin", "source", cwd=tmp_path)
    (tmp_path / "source" / "docs" / "_ext").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "_ext" / "versions.py", tmp_path / "source" / "docs" / "_ext")
    git("add", "--all", cwd=tmp_path / "source")
    git("commit", "--quiet", "--message", "Source", cwd=tmp_path / "source")
    git("push", "--quiet", "origin", "HEAD:main", cwd=tmp_path / "source")

    def run(ref, text):
        checkout = tmp_path / f"checkout{len(list(tmp_path.iterdir()))}"
        git("clone", "--quiet", "--branch", "main", "origin", checkout.name, cwd=tmp_path)
        (checkout / "site" / "_static").mkdir(parents=True)
        for name in ("index.html", "_static/site.css"):
            (checkout / "site" / name).write_text(text)
        named = {"GITHUB_REF": ref, "GITHUB_REF_NAME": ref.rpartition("/")[2], "GITHUB_SHA": "0" * 40, "BASE": "/oq/"}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        ended = subprocess.run(command, cwd=checkout, env={**os.environ, **named}, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        shutil.rmtree(tmp_path / "pages", ignore_errors=True)
        git("clone", "--quiet", "--branch", "gh-pages", "origin", "pages", cwd=tmp_path)
        return tmp_path / "pages"

    return run


def test_every_version_has_its_folder(publish):
    for number, ref in enumerate(REFS):
        pages = publish(ref, f"text {number}")
        if number == 0:
            assert json.loads((pages / "switcher.json").read_text()) == [{"version": "dev", "url": "/oq/dev/"}]
            assert 'url=dev/index.html"' in (pages / "index.html").read_text()
    assert {path.name for path in pages.iterdir()} == {".git", ".nojekyll", "dev", "v0.9", "v0.10", "switcher.json", "index.html"}
    texts = {name: (pages / name / "index.html").read_text() for name in ("dev", "v0.9", "v0.10")}
    assert texts == {"dev": "text 0", "v0.9": "text 3", "v0.10": "text 2"}, "a patch takes the place of what it mends"
    assert (pages / "dev" / "_static" / "site.css").exists()
    assert json.loads((pages / "switcher.json").read_text()) == [
        {"version": "v0.10", "url": "/oq/v0.10/", "name": "v0.10 (stable)", "preferred": True},
        {"version": "v0.9", "url": "/oq/v0.9/"},
        {"version": "dev", "url": "/oq/dev/"},
    ]
    (first,) = re.findall(r'url=([^"]*)"', (pages / "index.html").read_text())
    assert first == "v0.10/index.html"
    assert (pages / first).exists()
    assert git("rev-list", "--count", "HEAD", cwd=pages).strip() == "1", "old pages do not pile up"
