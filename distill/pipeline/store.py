"""A run's folder: parts written whole or not at all, sealed by size, time and SHA-256, and read only if the seal holds.

``<stage>-<digest>/<file>``      the files of the parts
``<stage>-<digest>/.seals/<part>.json``   what each file of a part must be, and what making it took; written after the files
``<stage>-<digest>/manifest.json``  what the artifact is and where it was made; written when all parts are sealed
``<stage>-<digest>/.checkpoints/``  the state of parts under way that take long (:mod:`distill.pipeline.checkpoint`)
"""

import errno
import hashlib
import json
import os
import platform
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from distill.pipeline.checkpoint import Checkpoint
from distill.pipeline.format import FORMAT, numbered
from distill.pipeline.process_group import ALONE, ProcessGroup
from distill.pipeline.safe_path import inside
from distill.pipeline.stage import Content, Product, Stage

RECIPES = ("recipe.json", "finished.json")  # of a run's folder: the recipe given last, and the last that came to its end
GRAPHS = "graphs.json"  # what stages these two had when they were given and finished, and which parts
_PARTIAL = ".partial"
_TRIES = 100  # to open a file in a folder that others remove
_ARTIFACT = re.compile(r"[a-z]+-[0-9a-f]{12}|report")


class Unwritable(OSError):
    """A file that could not be written, in a sentence: a full disk, or a permission lost. What was there before still is."""


class ChecksumMismatch(Exception):
    """A sealed part whose files are not what the seal says; the pipeline makes it again."""

    def __init__(self, folder: str, part: str) -> None:
        super().__init__(folder, part)
        self.folder, self.part = folder, part

    def __str__(self) -> str:
        return f"{self.folder}/{self.part} is not what its seal says"


class Store:
    """The artifacts below one run folder. group: the processes that make the part under way."""

    def __init__(self, root: Path, group: ProcessGroup = ALONE) -> None:
        self.root, self.group = root.resolve(), group

    def folder(self, stage: Stage) -> Path:
        return self._inside(stage.folder_name)

    def write(self, stage: Stage, part: str, product: Product, record: Mapping[str, Any]) -> None:
        """Write a part's files, then its seal with ``record``; a kill at any moment leaves the part unsealed or whole."""
        seal_path, files = self._seal(stage, part), {}
        for name, content in product.items():
            path = self._inside(stage.folder_name, name)
            data = _encoded(path.name, content)
            write_whole(path, data)
            stat = path.stat()
            files[name] = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": hashlib.sha256(data).hexdigest()}
        seal = numbered({"digest": stage.digest, "files": files, **record})
        for name in self._sealed_names(stage, part) - files.keys():
            self._inside(stage.folder_name, name).unlink(missing_ok=True)  # of an earlier recipe, in a folder that keeps its name
        write_whole(seal_path, json.dumps(seal, indent=1, sort_keys=True).encode())
        self.checkpoint(stage, part).remove()

    def checkpoint(self, stage: Stage, part: str) -> Checkpoint:
        """Where a part under way keeps its state; gone once the part is sealed."""
        return Checkpoint(self._inside(stage.folder_name, ".checkpoints"), part, write_whole, self.group)

    def seal(self, stage: Stage, part: str) -> dict[str, Any] | None:
        """The seal of a part, or None where there is none, none of this digest and format, or none to be read."""
        try:
            seal = json.loads(self._seal(stage, part).read_bytes())
            whole = (
                (seal["format"], seal["digest"]) == (FORMAT, stage.digest) and isinstance(seal["files"], dict) and seal["files"]
            )
            return seal if whole and seal["began"] <= seal["ended"] and seal["peak_memory_bytes"] >= 0 else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def holds(self, stage: Stage, part: str, *, verify: bool = False) -> bool:
        """Whether the part is there as sealed: sizes and times; contents where a time differs, or to ``verify``."""
        seal = self.seal(stage, part)
        if seal is None:
            return False
        for name, expected in seal["files"].items():
            try:
                path = self._inside(stage.folder_name, name)
                stat = path.stat()
                if stat.st_size != expected["size"]:
                    return False
                if (verify or stat.st_mtime_ns != expected["mtime_ns"]) and _sha256(path) != expected["sha256"]:
                    return False
            except (OSError, ValueError, KeyError, TypeError):
                return False
        return True

    def check(self, stage: Stage, part: str) -> Path:
        """The folder of a part whose files all have the sealed content; raises :class:`ChecksumMismatch` otherwise."""
        if not self.holds(stage, part, verify=True):
            raise ChecksumMismatch(stage.folder_name, part)
        return self.folder(stage)

    def discard(self, stage: Stage, part: str) -> None:
        """Break the seal, so that the part counts as missing."""
        self._seal(stage, part).unlink(missing_ok=True)

    def tensors(self, stage: Stage, part: str) -> dict[str, Any]:
        """The tensors of ``<part>.safetensors``, on the CPU."""
        from safetensors.torch import load

        return load(self._read(stage, part, f"{part}.safetensors"))

    def values(self, stage: Stage, part: str) -> dict[str, Any]:
        """The values of ``<part>.json``."""
        return json.loads(self._read(stage, part, f"{part}.json"))

    def manifest(self, stage: Stage) -> dict[str, Any] | None:
        """The manifest of a stage, or None where it is unfinished."""
        try:
            manifest = json.loads((self.folder(stage) / "manifest.json").read_bytes())
            return manifest if (manifest["digest"], manifest["parts"]) == (stage.digest, len(stage.parts())) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def finish(self, stage: Stage, environment: Mapping[str, Any]) -> None:
        """Write the manifest of a stage whose parts are all sealed; ``ValueError`` where its summary refuses them."""
        path = self._inside(stage.folder_name, "manifest.json")
        seals = [seal for part in stage.parts() if (seal := self.seal(stage, part))]
        manifest = {
            "stage": stage.name,
            "title": stage.title,
            "version": stage.version,
            "digest": stage.digest,
            "options": stage.options(),
            "parents": [parent.folder_name for parent in stage.parents],
            "parts": len(seals),
            "began": min(seal["began"] for seal in seals),
            "wall_s": round(_covered([(seal["began"], seal["ended"]) for seal in seals]), 3),
            "work_s": round(sum(seal["ended"] - seal["began"] for seal in seals), 3),
            "peak_memory_bytes": max(seal["peak_memory_bytes"] for seal in seals),
            "environment": dict(environment),
            **stage.summary(self),
        }
        write_whole(path, json.dumps(manifest, indent=1, sort_keys=True).encode())

    def sweep(self) -> None:
        """Remove what an interrupted write of ours left behind. Only for the holder of the run's lock."""
        if not self.root.is_dir():
            return
        ours = [folder for folder in self.root.iterdir() if is_artifact(folder)]
        places = (f"*{_PARTIAL}", f".seals/*{_PARTIAL}", f".checkpoints/*{_PARTIAL}")
        left = [path for folder in ours for place in places for path in folder.glob(place)]
        left += [path for name in (*RECIPES, GRAPHS) for path in self.root.glob(f"{name}.*{_PARTIAL}")]
        for path in left:
            path.unlink(missing_ok=True)

    def _read(self, stage: Stage, part: str, name: str) -> bytes:
        seal = self.seal(stage, part)
        try:
            data = self._inside(stage.folder_name, name).read_bytes()
            if seal is None or hashlib.sha256(data).hexdigest() != seal["files"][name]["sha256"]:
                raise KeyError(name)
        except (OSError, KeyError, TypeError):
            raise ChecksumMismatch(stage.folder_name, part) from None
        return data

    def _sealed_names(self, stage: Stage, part: str) -> set[str]:
        try:
            return set(json.loads(self._seal(stage, part).read_bytes())["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return set()

    def _seal(self, stage: Stage, part: str) -> Path:
        return self._inside(stage.folder_name, ".seals", f"{part}.json")

    def _inside(self, *names: str) -> Path:
        return inside(self.root, *names)


def is_artifact(path: Path) -> bool:
    """Whether a path in a run's folder is a stage's own folder, by its name and kind."""
    return _ARTIFACT.fullmatch(path.name) is not None and path.is_dir() and not path.is_symlink()


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` so that ``path`` holds all of it or what it held before, also across a crash.

    Raises :class:`Unwritable`, and leaves nothing half-written to fill a disk that is full.
    """
    partial = path.with_name(f"{path.name}.{platform.node()}-{uuid.uuid4().hex}{_PARTIAL}")
    try:
        with _created(partial) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise Unwritable(_why_not(path, len(data), error)) from error


def _created(path: Path) -> IO[bytes]:
    """A new file in a folder that is made where it is missing, again where another process removes it, empty, before the file is
    there: as one that ends the last part under way does with the folder of their states.
    """
    for _ in range(_TRIES - 1):
        with suppress(FileNotFoundError, FileExistsError):  # the latter of mkdir, if the folder goes while mkdir looks at it
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("wb")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb")


def _why_not(path: Path, needed: int, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        full = f"the disk of {path.parent} is full: {path.name} takes {needed:,} bytes"
        return f"{full}. Make room, or move the run's folder elsewhere"
    return f"{path} cannot be written: {error.strerror or error}"


def _encoded(name: str, content: Content) -> bytes:
    if isinstance(content, bytes):
        return content
    if name.endswith(".safetensors"):
        from safetensors.torch import save

        return save({key: tensor.detach().cpu().contiguous() for key, tensor in content.items()})
    if name.endswith(".json"):
        return json.dumps(content, indent=1, sort_keys=True, allow_nan=False).encode()
    raise TypeError(f"{name}: a mapping is written as .safetensors or .json; anything else must be bytes")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _covered(spans: list[tuple[float, float]]) -> float:
    """The length of the union of intervals: wall time, however the parts were spread over workers and sessions."""
    total, reached = 0.0, float("-inf")
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return total
