"""Bounce lists: what the replies of servers mean, by patterns in a file. In: CSV. Out: rules in order.

The columns are a pattern within slashes, a value, groupings parted by commas, a state, a comment. Source: the format of the
vendor's plugin. Matching is the caller's, which has the time limits of scripts.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path

from hslpy.errors import OperatorError
from hslpy.filestamp import Stamp, stamp_of
from hslpy.lang import regex
from hslpy.log import Log, no_log
from hslpy.records import dataclass

MOST_BYTES = 16 << 20  # of a file; more is no list but a mistake


@dataclass(frozen=True, slots=True)
class BounceListSettings:
    """A list that scripts ask by its id."""

    id: str
    path: Path


@dataclass(frozen=True, slots=True)
class Rule:
    """`value` is what replies mean that match `pattern`, in any of `groupings` and at `state` where these are given."""

    pattern: str
    value: str
    groupings: frozenset[str]
    state: str

    def concerns(self, grouping: str, state: str) -> bool:
        """Say whether the rule is for that grouping and state."""
        return (not self.groupings or grouping in self.groupings) and self.state in ("", state)


def read_rules(text: str, name: str) -> tuple[Rule, ...]:
    """Give the rules of a file. Raises OperatorError that names each bad line."""
    rules: list[Rule] = []
    errors: list[str] = []
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        for row in reader:
            if not row or row[0].startswith("#"):
                continue
            error = _error_in(row)
            if error is not None:
                errors.append(f"{name}:{reader.line_num}: {error}")
                continue
            groupings, state = ([cell.strip() for cell in row[2:4]] + ["", ""])[:2]
            names = frozenset(part.strip() for part in groupings.split(",") if part.strip())
            rules.append(Rule(row[0].strip()[1:-1], row[1], names, state))
    except csv.Error as error:
        errors.append(f"{name}:{reader.line_num}: {error}")
    if errors:
        raise OperatorError("\n  ".join(["a bounce list has errors:", *errors]))
    return tuple(rules)


def _error_in(row: Sequence[str]) -> str | None:
    pattern = row[0].strip()
    if len(pattern) < 2 or pattern[0] != "/" or pattern[-1] != "/":
        return "a line begins with a pattern within slashes"
    if not 2 <= len(row) <= 5:
        return f"a line has 2 to 5 columns: pattern, value, groupings, state, comment; this one has {len(row)}"
    return regex.check_pattern(pattern[1:-1], "i")


@dataclass(slots=True)
class _Kept:
    seen: Stamp
    rules: tuple[Rule, ...]


@dataclass(slots=True)
class BounceLists:
    """The lists of the settings, read when they are first asked and whenever their files have changed."""

    lists: Sequence[BounceListSettings] = ()
    log: Log = no_log
    _kept: dict[str, _Kept] = field(default_factory=dict)

    def check(self) -> None:
        """Read all lists. Raises OperatorError when one cannot be read, or has errors."""
        for each in self.lists:
            self._read(each)

    def rules(self, name: str) -> tuple[Rule, ...] | None:
        """Give the rules of a list, None where there is none of that id.

        A file that has got errors is logged once, and the rules it had before go on. Raises OperatorError when it had none.
        """
        found = next((each for each in self.lists if each.id == name), None)
        if found is None:
            return None
        kept = self._kept.get(name)
        seen = stamp_of(found.path)
        if kept is not None and kept.seen == seen:
            return kept.rules
        try:
            return self._read(found)
        except OperatorError as error:
            if kept is None:
                raise
            kept.seen = seen
            self.log("bounce_lists.kept", {"level": "error", "list": name, "errors": error.message})
            return kept.rules

    def _read(self, which: BounceListSettings) -> tuple[Rule, ...]:
        seen = stamp_of(which.path)
        try:
            with open(which.path, "rb") as file:
                content = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise OperatorError(f"cannot read the bounce list {which.path}: {error.strerror}") from None
        if len(content) > MOST_BYTES:
            raise OperatorError(f"the bounce list {which.path} has more than {MOST_BYTES} bytes")
        rules = read_rules(content.decode("latin-1"), str(which.path))
        self._kept[which.id] = _Kept(seen, rules)
        return rules
