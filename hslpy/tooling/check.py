"""Checks script files and says which hook each is for. In: paths. Out: findings a file, by the loader's own checks.

A file's hook is known from its name (`pre-delivery.hsl`, `rcptto.hsl`); any other file is checked with what all hooks
have, and, where that finds errors, at the place that finds the fewest. Must not know output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from hslpy.builtins import ALL, for_hook
from hslpy.builtins.absent import ABSENT
from hslpy.hooks.data import DATA
from hslpy.hooks.files import FileReader
from hslpy.hooks.scripts import load_hook
from hslpy.hooks.table import BY_NAME, HOOKS
from hslpy.lang.declare import Builtin
from hslpy.lang.diagnostics import Diagnostic
from hslpy.lang.load import Predefined, load_program
from hslpy.lang.profiles import ALL_NEWEST, ProfileChoice
from hslpy.records import dataclass
from hslpy.tooling.run_tests import FUNCTIONS, SUFFIX

# First words of file names that mean a hook, beside the hooks' own names. Source: the HSL manual, older names.
_NAMES = {
    "connection": "connect",
    "ehlo": "helo",
    "heloehlo": "helo",
    "mail": "mailfrom",
    "sender": "mailfrom",
    "rcpt": "rcptto",
    "recipient": "rcptto",
    "eodrcpt": "data",
    "eodonce": "eod",
    "pre": "predelivery",
    "post": "postdelivery",
}
_LIBRARIES = {"lib", "library", "libs", "modules", "extras"}
TEST = "test"
ANY = "any"


@dataclass(frozen=True, slots=True)
class Checked:
    """One file's findings. `place` is the hook it was checked at, `test`, or `any`; `guessed`: from its name."""

    file: Path
    place: str
    guessed: bool
    findings: tuple[Diagnostic, ...]


def hook_by_name(file: Path) -> str | None:
    """Give the hook that a file's name begins with, as whole words: `rcpt-limit.hsl` is for rcptto, `data2.hsl` for none.

    In `hooks/<hook>/` all files are the hook's. `authentication-results` and the like are no scripts of AUTH.
    """
    folder = file.absolute().parent
    if folder.name in _LIBRARIES:
        return None
    if folder.parent.name == "hooks" and (folder.name in BY_NAME or folder.name in _NAMES):
        return _NAMES.get(folder.name, folder.name)
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "-", file.stem).lower())
    if words == ["authentication"]:
        return "auth"
    for count in (2, 1):
        start = "".join(words[:count])
        if start in BY_NAME or start in _NAMES:
            return _NAMES.get(start, start)
    return None


def check_file(
    file: Path,
    hook: str | None = None,
    library: tuple[Path, ...] = (),
    profiles: ProfileChoice = ALL_NEWEST,
    folders: tuple[Path, ...] | None = None,
) -> Checked:
    """Check one file at `hook`, or where its name says. Raises OperatorError when it cannot be read."""
    reader = FileReader(library, profiles, folders)
    if hook is None and file.name.endswith(SUFFIX):
        loaded = load_program(
            str(file), reader, {**for_hook(None), **FUNCTIONS}, {}, elsewhere=ALL, absent=ABSENT, data=DATA
        )
        return Checked(file, TEST, True, tuple(loaded.diagnostics))
    named = hook or hook_by_name(file)
    if named is not None:
        return Checked(file, named, hook is None, tuple(load_hook(str(file), reader, named).diagnostics))
    tries = _at_any(file, reader)
    best = next(tries)
    for other in tries:
        if not best.findings:
            break
        best = min(best, other, key=_weight)
    return best


def _at_any(file: Path, reader: FileReader) -> Iterator[Checked]:
    """Check with all that there is, then outside of hooks and at each hook."""
    loaded = load_program(str(file), reader, _ALL_BUILTINS, _ALL_FACTS, absent=ABSENT, data=DATA)
    yield Checked(file, ANY, False, tuple(loaded.diagnostics))
    for name in (None, *BY_NAME):
        findings = load_hook(str(file), reader, name).diagnostics
        yield Checked(file, name or ANY, True, tuple(findings))


def _weight(checked: Checked) -> tuple[int, int]:
    errors = sum(finding.is_error for finding in checked.findings)
    return errors, len(checked.findings) - errors


def _all_builtins() -> dict[str, Builtin]:
    """Give the builtins of all hooks; of several with one name that which takes the most arguments."""
    found: dict[str, Builtin] = {}
    for hook in (None, *BY_NAME):
        for name, row in for_hook(hook).items():
            if name not in found or len(row.signature.parameters) > len(found[name].signature.parameters):
                found[name] = row
    return found


_ALL_BUILTINS = _all_builtins()
_ALL_FACTS: dict[str, Predefined] = {fact.name: Predefined(("any",), True) for hook in HOOKS for fact in hook.facts}
