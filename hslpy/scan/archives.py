"""What is in an archive. In: its bytes and media types, a budget. Out: entries, one at a time: names, and their bytes.

Zip, tar, gzip, bzip2 and xz. Nothing is written to disk, and no more is unpacked than the budget has. Raises BadArchive.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from hslpy.records import dataclass
from hslpy.scan.file_types import BZIP2, GZIP, TAR, XZ, ZIP

_STRETCH = 1 << 18


class BadArchive(Exception):
    """The archive is broken, of an unknown kind inside, or larger than may be unpacked."""


class Budget:
    """What one scan may unpack: bytes and entries, all archives together. `look` is called between stretches."""

    def __init__(self, size_bytes: int, entries: int, look: Callable[[], None]) -> None:
        self.size_bytes = size_bytes
        self.entries = entries
        self.look = look

    def entry(self) -> None:
        self.look()
        self.entries -= 1
        if self.entries < 0:
            raise BadArchive("too many files")

    def read(self, file: IO[bytes]) -> bytes:
        """Give the rest of the file."""
        rest = io.BytesIO()  # joined parts would for a moment be there twice
        while part := file.read(_STRETCH):
            self.look()
            self.size_bytes -= len(part)
            if self.size_bytes < 0:
                raise BadArchive("too large unpacked")
            rest.write(part)
        return rest.getvalue()


@dataclass(frozen=True, slots=True)
class Entry:
    """`data` None: it is encrypted."""

    name: str
    data: bytes | None


def is_archive(types: Sequence[str]) -> bool:
    return any(kind in _OPENERS for kind in types)


def entries(data: bytes, types: Sequence[str], name: str, budget: Budget) -> Iterator[Entry]:
    """Give the files in an archive called `name`. Raises BadArchive."""
    opener = next(_OPENERS[kind] for kind in types if kind in _OPENERS)
    try:
        yield from opener(data, name, budget)
    except (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise BadArchive(str(error) or type(error).__name__) from None
    except MemoryError:
        raise BadArchive("it wants too much memory") from None
    except (NotImplementedError, RuntimeError, ValueError, IndexError, KeyError, OverflowError) as error:
        raise BadArchive(f"of an unknown kind: {error}") from None  # what these modules raise for some broken ones


def _zip(data: bytes, name: str, budget: Budget) -> Iterator[Entry]:
    if data.count(b"PK\x01\x02") > budget.entries:  # the whole directory is read at once, and may name millions
        raise BadArchive("too many files")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            budget.entry()
            if info.is_dir():
                continue
            if info.flag_bits & 1:
                yield Entry(info.filename, None)
                continue
            with archive.open(info) as file:
                yield Entry(info.filename, budget.read(file))


class _Member(tarfile.TarInfo):
    """A header of a tar file. Those that extend the next one are read all at once, each with a copy of what went before."""

    def _proc_member(self, archive: _Tar) -> tarfile.TarInfo:  # the module's documented place for what a header means
        if self.type in _EXTENSIONS:
            archive.extensions += 1
            archive.common_bytes += self.size if self.type == tarfile.XGLTYPE else 0
            if max(self.size, archive.common_bytes) > _EXTENSION_BYTES or archive.extensions > _MOST_EXTENSIONS:
                raise BadArchive("too many or too large headers")
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return member


class _Tar(tarfile.TarFile):
    tarinfo = _Member
    extensions = 0  # of the member at hand
    common_bytes = 0  # of those that extend all members


_EXTENSIONS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
_EXTENSION_BYTES = 1 << 17  # a name has up to 4 KiB, an attribute 64
_MOST_EXTENSIONS = 10


def _tar(data: bytes, name: str, budget: Budget) -> Iterator[Entry]:
    with _Tar(fileobj=io.BytesIO(data)) as archive:
        for info in archive:
            archive.extensions = 0
            budget.entry()
            file = archive.extractfile(info) if info.isreg() else None
            if file is not None:
                yield Entry(info.name, budget.read(file))


def _single(opened: Callable[[IO[bytes]], IO[bytes]], ending: str) -> Callable[[bytes, str, Budget], Iterator[Entry]]:
    def one(data: bytes, name: str, budget: Budget) -> Iterator[Entry]:
        budget.entry()
        inner = name[: -len(ending)] if name.lower().endswith(ending) else name
        if inner.lower().endswith(".t"):  # .tgz, .txz
            inner += "ar"
        with opened(io.BytesIO(data)) as file:
            yield Entry(inner, budget.read(file))

    return one


_OPENERS: dict[str, Callable[[bytes, str, Budget], Iterator[Entry]]] = {
    ZIP: _zip,
    TAR: _tar,
    GZIP: _single(lambda file: gzip.GzipFile(fileobj=file), ".gz"),  # type: ignore[arg-type, return-value]
    BZIP2: _single(bz2.BZ2File, ".bz2"),
    XZ: _single(lzma.LZMAFile, ".xz"),
}
