"""The copy of the last picture, in the data folder: what is gone by while the database is away. In, out: a file.

It also remembers which database there was, so that one that was removed is missed instead of made anew, empty.
Must not import the database.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from hslpy.egress.store.file import Key
    from hslpy.egress.traffic.picture import Picture

FILE = "delivery-ips.copy"
_FORMAT = 6


class Unusable(Exception):
    """The copy was cut short, or is of a version whose classes were others."""


def write(folder: Path, place: str, key: Key | None, picture: Picture, now: float) -> None:
    """Keep a picture of the database at `place`, whose file has a key. Raises OSError."""
    copy = folder / FILE
    beside = copy.with_suffix(".new")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        pickle.dump((_FORMAT, now, place, key), file)
        pickle.dump(picture, file, pickle.HIGHEST_PROTOCOL)
    beside.replace(copy)


def read(folder: Path) -> tuple[Picture, float] | None:
    """Give the picture and when it was kept; None where there is none of this version. Raises Unusable."""
    try:
        with open(folder / FILE, "rb") as file:
            head = _head(file)
            return (pickle.load(file), head[0]) if head is not None else None
    except OSError:
        return None
    except Exception as error:
        raise Unusable(repr(error)) from error


def former(folder: Path, place: str) -> Key | None:
    """Give the key of the file that was in use at `place` last."""
    try:
        with open(folder / FILE, "rb") as file:
            head = _head(file)
    except Exception:  # whatever it is, nothing is known
        return None
    return head[2] if head is not None and head[1] == place else None


def _head(file: BinaryIO) -> tuple[float, str, Key | None] | None:
    found = pickle.load(file)
    return found[1:] if found[0] == _FORMAT else None
