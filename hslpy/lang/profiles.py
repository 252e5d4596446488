"""The profiles: which year's behaviour a script is written for. In: a year or a release. Out: a row of `PROFILES`.

A profile belongs to a file (`Source.profile`), so that a module keeps its own whoever imports it. What the language did
otherwise are switches here, which `resolve` turns into nodes and operators of their own: a program in the newest profile
compiles as if there were no others. What hooks did otherwise stands in `hooks/table.py`, by `year`. Source: the HSL
manual of each year; deviations.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from hslpy.errors import OperatorError
from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class Profile:
    """A row: the behaviour of the releases from `since` up to the next row's.

    `missing_is_empty`: reading a missing element gives "", not none. `none_is_empty`: none joins as "", where it is an
    error now. `plus_joins`: `+` with a string puts texts together. `booleans_are_numbers`: `true` and `false` are 1 and 0.
    `numbers_only`: `*` and `%` take strings for numbers; they neither repeat nor format.
    """

    name: str
    year: int
    since: tuple[int, int]
    releases: str
    missing_is_empty: bool = False
    none_is_empty: bool = False
    plus_joins: bool = False
    booleans_are_numbers: bool = False
    numbers_only: bool = False

    @property
    def is_plain(self) -> bool:
        """Say whether the language is that of the newest profile."""
        return not any(getattr(self, switch.name) for switch in SWITCHES)


@dataclass(frozen=True, slots=True)
class Switch:
    """What a switch of the language is about: what happens where it is on, and where it is off."""

    name: str
    about: str
    on: str
    off: str


SWITCHES: tuple[Switch, ...] = (
    Switch("missing_is_empty", 'a missing element: `$a["no"]`', '`""`', "none"),
    Switch("none_is_empty", 'none in a text: `"x" . none`', '`""`', "a script error (R121)"),
    Switch("plus_joins", '`+` with a string: `2 + 2 + "test"`', '`"4test"`', "its number is added, with a warning"),
    Switch("booleans_are_numbers", "`true` and `false`", "the numbers `1` and `0`, and print so", "booleans"),
    Switch("numbers_only", "a string with `*` or `%`", "taken as a number", "repeated, or filled in as a format"),
)

PROFILES: tuple[Profile, ...] = (
    Profile("2015", 2015, (0, 0), "up to 3.4", True, True, True, True, True),
    Profile("2016", 2016, (3, 5), "3.5", booleans_are_numbers=True, numbers_only=True),
    Profile("2017", 2017, (4, 0), "4.0 to 4.7", booleans_are_numbers=True, numbers_only=True),
    Profile("2018", 2018, (4, 8), "4.8 to 5.1"),
    Profile("2019", 2019, (5, 2), "5.2 to 5.4"),
    Profile("newest", 2020, (5, 5), "5.5 and later"),
)
NEWEST = PROFILES[-1]
_RELEASE = re.compile(r"(\d{1,2})\.(\d{1,2})\S*", re.ASCII)


def profile_of(text: str) -> Profile:
    """Give the profile named by its name, by any year, or by a release such as `4.6`. Raises OperatorError."""
    for row in PROFILES:
        if text == row.name:
            return row
    release = _RELEASE.fullmatch(text)
    if release is not None:
        number = int(release[1]), int(release[2])
        return [row for row in PROFILES if row.since <= number][-1]
    if len(text) == 4 and text.isascii() and text.isdigit() and text[:2] == "20":
        return ([row for row in PROFILES if row.year <= int(text)] or [PROFILES[0]])[-1]
    names = ", ".join(f"`{row.name}`" for row in PROFILES)
    raise OperatorError(f"there is no profile {text!r}", hint=f"the profiles are {names}; a release such as `4.6` will do")


@dataclass(frozen=True, slots=True)
class ProfileChoice:
    """Which profile a file has: that of the longest path in `by_path` that it lies in, else `default`."""

    default: Profile = NEWEST
    by_path: Mapping[Path, Profile] = field(default_factory=dict)

    def of(self, path: Path) -> Profile:
        """Give the profile of the file at `path`."""
        if not self.by_path:
            return self.default
        absolute = path.absolute()
        for folder in (absolute, *absolute.parents):
            if folder in self.by_path:
                return self.by_path[folder]
        return self.default


ALL_NEWEST = ProfileChoice()
