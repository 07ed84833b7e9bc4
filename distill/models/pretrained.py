"""Models that others trained, in a folder or by name on a hub: found, named by their content, and never unpickled."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module, resources
from pathlib import Path
from typing import Any

from distill.models.fetching import why_no_hub
from distill.recipe import RecipeError

_INDEX = "*.safetensors.index.json"
_FILES = (".json", ".safetensors", ".txt")
_VARIANTS = ("*.fp16.*", "*.non_ema.*")
_LONGEST_HEADER = 10**8  # bytes that safetensors allows
_ENDS = 4096  # bytes of a tensor that are looked at on either side


_SHAPES = Path(str(resources.files("distill"))) / "recipes" / "shapes"


def shapes_of(path: str) -> Path | None:
    """The folder of configurations that ships for models of this name, without weights; None where none does."""
    found = _SHAPES / Path(path).name
    return found if found.is_dir() else None


@dataclass(frozen=True)
class Pretrained:
    """key: the recipe's section, for messages. path: a folder, or a name on a hub with its ``revision``.

    folders: those below it whose files are the model's; "" is the folder itself.
    """

    key: str
    path: str
    folders: tuple[str, ...] = ("",)
    revision: str = ""

    def config(self) -> dict[str, Any]:
        """The configuration in the first of the folders; raises RecipeError where there is none, or a folder is not whole."""
        name = f"{self.folders[0]}/config.json".lstrip("/")
        try:
            config = json.loads(self._file(name).read_bytes())
        except (OSError, json.JSONDecodeError) as error:
            raise RecipeError(f"{self.key}.path = {self.path!r} has no readable {name}: {error}") from None
        self._check_whole()
        return config

    def fingerprint(self) -> str:
        """What names the content: relative paths and marks, or the name and commit on a hub."""
        if not Path(self.path).is_dir():
            return f"{self.path}@{self._commit()}"
        return hashlib.sha256("".join(f"{name}\0{_mark(path)}\n" for name, path in self._files()).encode()).hexdigest()

    def folder(self) -> Path:
        """The folder of the whole model on this machine, fetched from the hub if it is not there yet."""
        if Path(self.path).is_dir():
            return Path(self.path)
        wanted = [f"{folder}/*{ending}".lstrip("/") for folder in self.folders for ending in _FILES]
        hub = import_module("huggingface_hub")
        return Path(
            hub.snapshot_download(self.path, revision=self._commit(), allow_patterns=wanted, ignore_patterns=list(_VARIANTS))
        )

    def unobtainable(self) -> str | None:
        """Why the model is neither here nor to be had from the hub, in a sentence."""
        if Path(self.path).is_dir() or self._cached():
            return None
        reason = why_no_hub(self.path, self._commit())
        return reason and (
            f"{self.key}.path = {self.path!r} is not whole on this machine, and can't be fetched: {reason}. Fetch it where there "
            f"is a network, and give its folder with {self.key}.path"
        )

    def _cached(self) -> bool:
        """Whether the hub's own cache has all of the model."""
        hub = import_module("huggingface_hub")
        try:
            root = Path(hub.snapshot_download(self.path, revision=self._commit(), local_files_only=True))
        except Exception:  # there is no such folder
            return False
        return all(
            (root / folder).is_dir()
            and (not (root / folder / "config.json").exists() or any(p.suffix == ".safetensors" for p in _within(root / folder)))
            for folder in self.folders
        )

    def record(self) -> dict[str, Any]:
        """Every file with its size, its mark and its SHA-256."""
        return {name: {"size": path.stat().st_size, "mark": _mark(path), "sha256": _sha256(path)} for name, path in self._files()}

    def changed(self, record: dict[str, Any]) -> list[str]:
        """The files that are other ones than the record's. Reads all of them."""
        now = {name: _sha256(path) for name, path in self._files()}
        return sorted(name for name in now.keys() | record.keys() if now.get(name) != record.get(name, {}).get("sha256"))

    def unchanged(self, record: dict[str, Any]) -> None:
        """Refuses files that are not those of the record, by their marks; records of earlier versions have sizes alone."""
        now = {name: {"size": path.stat().st_size, "mark": _mark(path)} for name, path in self._files()}
        then = {name: {key: each[key] for key in ("size", "mark") if key in each} for name, each in record.items()}
        if now.keys() != then.keys() or any(now[name] | each != now[name] for name, each in then.items()):
            raise ValueError(f"{self.key}.path = {self.path!r}: files changed since this run recorded them; run the recipe again")

    def _check_whole(self) -> None:
        """Refuses a folder here without a part of the model, or with weights of another format alone, before any work."""
        root = Path(self.path)
        if root.parent == _SHAPES:  # configurations alone, for plans
            return
        for folder in self.folders if root.is_dir() else ():
            if not (root / folder).is_dir():
                raise RecipeError(f"{self.key}.path = {self.path!r} lacks the folder {folder}")
            for index in (root / folder).glob(_INDEX):
                self._check_shards(index)
            weights = [path for path in _within(root / folder) if path.suffix == ".safetensors"]
            if (root / folder / "config.json").exists() and not weights:
                raise RecipeError(
                    f"{self.key}.path = {self.path!r} holds no .safetensors in {folder or 'it'}, the one format read; "
                    "convert them, or fetch a revision that has them"
                )
            for path in weights:
                if not (path.is_file() and _complete(path)):
                    raise RecipeError(f"{self.key}.path = {self.path!r}: {path.relative_to(root)} was cut short; fetch it again")

    def _check_shards(self, index: Path) -> None:
        """Refuses an index of weights in several files that can't be read, or names a file that is not there."""
        name, folder, shards = index.relative_to(self.path), index.parent, _shards(index)
        if not shards:
            raise RecipeError(f"{self.key}.path = {self.path!r}: {name} names no files of weights; fetch the model again")
        if lost := [shard for shard in shards if not _lies(folder, shard)]:
            which = f"{lost[0]}, which is" if len(lost) == 1 else f"{len(lost)} files, such as {lost[0]}, that are"
            raise RecipeError(f"{self.key}.path = {self.path!r}: {name} names {which} not in {folder}; fetch the model again")

    def _files(self) -> list[tuple[str, Path]]:
        root = self.folder()
        found = [path for folder in self.folders for path in _within(root / folder) if path.suffix in _FILES]
        return sorted((str(path.relative_to(root)), path) for path in found)

    def _file(self, name: str) -> Path:
        if Path(self.path).is_dir():
            return Path(self.path) / name
        if self.path.startswith((".", "/", "~")):
            raise RecipeError(f"{self.key}.path = {self.path!r} is no folder")
        commit = self._commit()
        hub = import_module("huggingface_hub")
        try:
            return Path(hub.hf_hub_download(self.path, name, revision=commit))
        except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RecipeError(
                f"{self.key}.path = {self.path!r} is no folder here, and the hub does not provide it: {first}"
            ) from None

    def _commit(self) -> str:
        if not self.revision:
            raise RecipeError(
                f"{self.key}.path = {self.path!r} is no folder here; for a name on the hub {self.key}.revision gives its commit, "
                "so that the recipe names the content"
            )
        return self.revision


def _within(folder: Path) -> list[Path]:
    """What lies in a folder, and what an index there names, which may lie deeper."""
    named = [folder / shard for index in folder.glob(_INDEX) for shard in _shards(index) if _lies(folder, shard)]
    return sorted({*folder.glob("*"), *named})


def _shards(index: Path) -> list[str]:
    """The files over which an index spreads weights; none where it can't be read."""
    try:
        return sorted({str(shard) for shard in json.loads(index.read_bytes())["weight_map"].values()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []


def _lies(folder: Path, shard: str) -> bool:
    """Whether a file is in the folder, or deeper in it."""
    return not Path(shard).is_absolute() and ".." not in Path(shard).parts and (folder / shard).is_file()


def _complete(path: Path) -> bool:
    """Whether a file of safetensors is as long as its header says; the tensors are not read."""
    found = _tensors(path)
    return found is not None and path.stat().st_size == max((end for _, end in found), default=_start(path))


def _mark(path: Path) -> str:
    """Tells a file from another without reading gigabytes: of tensors the header, and where each begins and ends; else all.

    Models of one kind have files of one size. Training changes about every number of a tensor that it changes.
    """
    status = path.stat()
    return _marked(path, status.st_size, status.st_mtime_ns, _ENDS)


@lru_cache(maxsize=256)
def _marked(path: Path, size: int, time: int, ends: int) -> str:
    places = _tensors(path) if path.suffix == ".safetensors" else None
    if places is None:
        return _sha256(path)
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(_start(path)))
        for begin, end in sorted(places):
            for place in (begin, max(begin, end - ends)):
                file.seek(place)
                digest.update(file.read(min(ends, end - begin)))
    return digest.hexdigest()


def _tensors(path: Path) -> list[tuple[int, int]] | None:
    """Where in a file of safetensors each tensor begins and ends; None where its header is none."""
    start = _start(path)
    if start - 8 > _LONGEST_HEADER:
        return None
    with path.open("rb") as file:
        header = file.read(start)[8:]
    try:
        found = [entry["data_offsets"] for name, entry in json.loads(header).items() if name != "__metadata__"]
        return [(start + begin, start + end) for begin, end in found]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _start(path: Path) -> int:
    """Where the tensors begin, as the first eight bytes say."""
    with path.open("rb") as file:
        return 8 + int.from_bytes(file.read(8), "little")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
