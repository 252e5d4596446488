"""Where the files of scripts are: paths as scripts write them to files on disk, each read once. In: paths. Out: `Source`s.

A path is looked up beside the file that names it, then in the library folders; `extras://` at last among the modules that
come with the server. Must not know what a file means. Source: the HSL manual, include, import; public scripts.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from hslpy.errors import OperatorError
from hslpy.lang.diagnostics import suggest
from hslpy.lang.predefined import OF_THE_SERVER
from hslpy.lang.profiles import ALL_NEWEST, NEWEST, ProfileChoice
from hslpy.lang.source import Source
from hslpy.records import dataclass

FILE_BYTES = 16 * 1024 * 1024  # of one file; more is no script but a mistake
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SUFFIXES = ("", ".hsl")

# By scheme the folder in which its files may lie, beside the importer or in the library, or in which they do.
_SCHEMES = {"file": "", "extras": "extras", "plugin-config": "plugin-config"}


_INNER = {"limits", "peer"}  # packaged, and no modules of the original


def packaged_scripts() -> Path:
    """Give the folder of the scripts that come with the server: the checkout's, else the one in the wheel."""
    package = Path(__file__).parents[1]
    checkout = package.parent / "scripts"
    return checkout if (checkout / "hooks").is_dir() else package / "_data/scripts"


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was read; `digest` None where there was none."""

    modified_ns: int
    size_bytes: int
    digest: bytes | None


_NOT_THERE = Seen(0, 0, None)


Snapshot = dict[tuple[str, str | None], Source | None]
"""What a path means to its importer (None for a hook's script); None where there is no such file."""


class SnapshotReader:
    """Gives the files of an earlier load, in this process or another, whatever has become of them on the disk."""

    def __init__(self, snapshot: Snapshot, profiles: ProfileChoice) -> None:
        self.snapshot = snapshot
        self.profiles = profiles
        self.seen: dict[Path, Seen] = {}

    def __call__(self, name: str, importer: str | None) -> Source:
        source = self.snapshot.get((name, importer))
        if source is None:
            raise OperatorError(f"there is no file `{name}`")
        return source


class FileReader:
    """Finds and reads the files of one load; `seen` is what it read, and what it looked for in vain.

    Data that scripts import lies in `folders` or the library, so that they read no other files of the server's; anywhere,
    where `folders` is None.
    """

    def __init__(
        self, library: tuple[Path, ...], profiles: ProfileChoice = ALL_NEWEST, folders: tuple[Path, ...] | None = None
    ) -> None:
        self.library = library
        self.folders = None if folders is None else [Path(os.path.abspath(folder)) for folder in (*folders, *library)]
        self.profiles = profiles
        self.seen: dict[Path, Seen] = {}
        self.snapshot: Snapshot = {}
        self._sources: dict[Path, Source] = {}
        self._packaged = packaged_scripts()

    def __call__(self, name: str, importer: str | None) -> Source:
        """Give the file that `name` means in `importer`. Raises OperatorError when there is none, or it cannot be read."""
        self.snapshot[name, importer] = None
        source = self.snapshot[name, importer] = self._find(name, importer)
        return source

    def _find(self, name: str, importer: str | None) -> Source:
        if importer is None:
            return self._read(Path(name), name)
        scheme, wanted = _parts(name)
        if scheme not in _SCHEMES:
            known = ", ".join(f"`{one}://`" for one in _SCHEMES)
            hint = suggest(scheme, _SCHEMES) or f"paths are plain, or begin with {known}"
            raise OperatorError(f"there is no kind of path `{scheme}://`", hint=hint)
        places = [*self._places(scheme, wanted, Path(importer).parent)]
        if name.startswith("file:"):  # from the root of the scripts, of which hooks and tests often have a folder
            places.append(Path(importer).parent / os.pardir / wanted)
        for place in places:
            for suffix in _SUFFIXES:
                candidate = Path(f"{place}{suffix}")
                if candidate.is_file():
                    self._refuse(candidate)
                    return self._read(candidate, os.path.normpath(candidate))
                self.seen.setdefault(Path(os.path.normpath(candidate)), _NOT_THERE)
        raise OperatorError(f"there is no file `{name}`", hint=_hint(scheme, places))

    def _refuse(self, file: Path) -> None:
        """Raises OperatorError for a file that is no script, and not where scripts may read."""
        if self.folders is None or file.suffix == ".hsl":
            return
        real = Path(os.path.abspath(file))
        if not any(real.is_relative_to(folder) for folder in (*self.folders, self._packaged)):
            known = ", ".join(dict.fromkeys(str(folder) for folder in self.folders))
            hint = f"data is imported from {known}, and from folders named in `files.folders`"
            raise OperatorError(f"scripts may not read {real}", hint=hint)

    def _places(self, scheme: str, wanted: str, beside: Path) -> Iterator[Path]:
        """Give what the path may mean, without the suffix that it may lack, in order."""
        inner = _SCHEMES[scheme]
        if inner:
            for folder in (beside, *self.library):
                yield folder / inner / wanted
        if scheme != "extras":
            yield beside / wanted
        for folder in self.library:
            yield folder / wanted
        if scheme == "extras":
            yield self._packaged / "lib" / wanted

    def _read(self, path: Path, shown: str) -> Source:
        key = Path(os.path.normpath(path))
        source = self._sources.get(key)
        if source is None:
            try:
                with open(key, "rb") as file:
                    status = os.fstat(file.fileno())
                    content = file.read(FILE_BYTES + 1)
            except OSError as error:
                self.seen[key] = _NOT_THERE
                raise OperatorError(f"cannot read the script {shown}: {error.strerror}") from None
            if len(content) > FILE_BYTES:
                raise OperatorError(f"the file {shown} has more than {FILE_BYTES} bytes")
            self.seen[key] = Seen(status.st_mtime_ns, status.st_size, hashlib.sha256(content).digest())
            profile = NEWEST if key.is_relative_to(self._packaged / "lib") else self.profiles.of(key)
            source = self._sources[key] = Source(shown, content.decode("latin-1"), profile)
        return source


def _parts(name: str) -> tuple[str, str]:
    """Give scheme and path of a path as written; `file:1` is the classic form of `file://1`."""
    found = _SCHEME.fullmatch(name)
    if found is not None:
        return found[1], found[2]
    return "file", name.removeprefix("file:")


def _hint(scheme: str, places: list[Path]) -> str:
    """Give what is there under a like name, and where it was looked for."""
    folders = list(dict.fromkeys(place.parent for place in places))
    names: list[str] = []
    for folder in folders:
        try:
            names.extend(entry.removesuffix(".hsl") for entry in sorted(os.listdir(folder)))
        except OSError:
            continue
    near = suggest(places[-1].name.removesuffix(".hsl"), names)
    if near is not None:
        return near
    if scheme == "extras":
        known = sorted({file.stem for file in folders[-1].glob("*.hsl")} - _INNER | set(OF_THE_SERVER))
        return f"modules of that kind that come with hslpy: {', '.join(known)}"
    return f"looked in {', '.join(dict.fromkeys(os.path.normpath(folder) for folder in folders))}"


def differs(path: Path, seen: Seen) -> bool:
    """Say whether the file is another than was seen; its content decides where its time has changed."""
    try:
        status = os.stat(path)
    except OSError:
        return seen.digest is not None
    if seen.digest is None:
        return path.is_file()
    if status.st_mtime_ns == seen.modified_ns and status.st_size == seen.size_bytes:
        return False
    if status.st_size != seen.size_bytes:
        return True
    try:
        content = path.read_bytes()
    except OSError:
        return True
    return hashlib.sha256(content).digest() != seen.digest
