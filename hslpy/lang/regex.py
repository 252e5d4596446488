"""Matching of regular expressions as HSL means them: Perl-compatible, on bytes, within a time limit.

In: patterns (strings, `/.../mods` strings, `Regex` values), subjects, the run. Out: matches as byte strings, or
ScriptError R129 for a bad pattern, LimitExceeded R206 for one that takes too long. `pcre` translates the dialect.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from hslpy.errors import ScriptError
from hslpy.lang.growth import Growth, decode_utf8
from hslpy.lang.pcre import PatternError, translate
from hslpy.lang.run import LimitExceeded, Run
from hslpy.lang.values import Regex
from hslpy.late import Late

if TYPE_CHECKING:
    import regex as engine
else:
    engine = Late("regex")

MODIFIERS = "imsuxUX"  # Source: the HSL manual, Regex
COMPILED_KEPT = 512
_INLINE_S = 0.002  # other sessions wait no longer than this for a match in the loop's thread
_CHEAP_STEPS = 50_000.0  # steps of the engine that surely take less than a millisecond: no clock is needed
_WORKER_FROM = 1 << 20  # characters; the engine looks at no clock while it scans for a literal
_COMPILE_IN_WORKER_FROM = 512  # characters of a pattern, about 2 ms of the regex module's compiler
_MATCH_BYTES = 600  # a match object with a few groups, CPython 3.11
_CHUNK = 4096


class Match(Protocol):
    """What we use of the engine's match objects."""

    def span(self, group: int = 0) -> tuple[int, int]: ...
    def group(self, group: int = 0) -> str | None: ...


class Compiled:
    """A pattern ready to match. `groups` counts its capture groups, `names` gives (name, group number) in order."""

    __slots__ = ("cheap_below", "engine", "groups", "names", "utf8")

    def __init__(self, program: Any, utf8: bool, degree: float, factor: float) -> None:
        self.engine = program
        self.utf8 = utf8
        self.groups: int = program.groups
        self.names: tuple[tuple[str, int], ...] = tuple(sorted(program.groupindex.items(), key=lambda item: item[1]))
        self.cheap_below = 0 if degree == float("inf") else int((_CHEAP_STEPS / factor) ** (1 / max(degree, 1.0)))

    def texts(self, match: Match) -> list[str]:
        """Give the whole match and each group as byte strings; a group that took no part is empty."""
        texts = [match.group(number) or "" for number in range(self.groups + 1)]
        return [_as_bytes(text) for text in texts] if self.utf8 else texts


def unwrap(text: str) -> tuple[str, str]:
    """Give the pattern and the modifiers of a string: `/.../mods` is unwrapped, anything else is all pattern."""
    if len(text) > 1 and text[0] == "/":
        end = text.rfind("/")
        modifiers = text[end + 1 :]
        if end > 0 and all(letter in MODIFIERS for letter in modifiers):
            return text[1:end], modifiers
    return text, ""


@lru_cache(maxsize=COMPILED_KEPT)
def _compile(pattern: str, modifiers: str) -> Compiled:
    """Compile a pattern of bytes. Raises PatternError."""
    if "u" in modifiers:
        try:
            pattern = pattern.encode("latin-1").decode("utf-8")
        except UnicodeDecodeError as error:
            raise PatternError("the pattern is not valid UTF-8", error.start) from None
    translation = translate(pattern, modifiers)
    flags = engine.VERSION1 | (engine.UNICODE if translation.utf8 else engine.ASCII)
    for letter in translation.flags:
        flags |= {"i": engine.IGNORECASE, "m": engine.MULTILINE, "s": engine.DOTALL}[letter]
    try:
        program = engine.compile(translation.text, flags)
    except engine.error as error:
        raise PatternError(str(error.msg), translation.origin(error.pos or 0)) from None
    except (RecursionError, OverflowError, MemoryError, ValueError, IndexError, KeyError, TypeError):
        raise PatternError("the pattern is too large or too deeply nested", 0) from None
    return Compiled(program, translation.utf8, translation.degree, translation.factor)


def compiled_text(text: str, plain_modifiers: str = "") -> Compiled:
    """Give the pattern of a string, one that is not `/.../mods` with `plain_modifiers`. Raises PatternError."""
    pattern, modifiers = unwrap(text)
    return _compile(pattern, modifiers if pattern != text else plain_modifiers)


def check_pattern(text: str, modifiers: str | None = None) -> str | None:
    """Say what is wrong with a pattern, or give None. Without `modifiers` it is a string, which may be `/.../mods`."""
    pattern, modifiers = unwrap(text) if modifiers is None else (text, modifiers)
    try:
        _compile(pattern, modifiers)
    except PatternError as error:
        return _report(error, pattern)
    return None


def _report(error: PatternError, pattern: str) -> str:
    return f"bad regular expression: {error.message}, at offset {error.position} of the pattern"


def compiled(run: Run, pattern: str | Regex) -> Compiled:
    """Give the pattern compiled. Raises ScriptError R129."""
    text, modifiers = unwrap(pattern) if pattern.__class__ is str else (pattern.pattern, pattern.modifiers)  # type: ignore
    try:
        if len(text) >= _COMPILE_IN_WORKER_FROM:
            run.reserve(len(text) * 100)
            return run.offload(_compile, text, modifiers)  # type: ignore[no-any-return]
        return _compile(text, modifiers)
    except PatternError as error:
        raise ScriptError("R129", _report(error, text)) from None


def subject_text(run: Run, pattern: Compiled, subject: str) -> str | None:
    """Give the subject as the engine wants it: as it is, or decoded for modifier `u`. None: it is not UTF-8."""
    return decode_utf8(run, subject) if pattern.utf8 else subject


def _as_bytes(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8").decode("latin-1")


def search(run: Run, pattern: Compiled, subject: str) -> Match | None:
    """Give the first match in a subject from `subject_text`. Raises LimitExceeded R206."""
    if len(subject) < pattern.cheap_below:
        return pattern.engine.search(subject)  # type: ignore[no-any-return]

    def attempt(timeout: float, concurrent: bool) -> Match | None:
        return pattern.engine.search(subject, concurrent=concurrent, timeout=timeout)  # type: ignore[no-any-return]

    return _within_limit(run, subject, attempt)


def _within_limit(run: Run, subject: str, attempt: Callable[[float, bool], Match | None]) -> Match | None:
    """Make the attempt for 2 ms here; if that runs out, again in a worker thread for as long as the limit allows."""
    limit = run.limits.regex_s
    if len(subject) < _WORKER_FROM:
        started = time.perf_counter()
        try:
            result = attempt(min(_INLINE_S, limit), False)
        except TimeoutError:
            run.charge(int(_INLINE_S * 1e6))
        except MemoryError:
            raise _too_long(limit) from None
        else:
            run.charge(1 + int((time.perf_counter() - started) * 1e6))
            return result
    try:
        return run.offload(attempt, limit, run.waiter is not None)  # type: ignore[no-any-return]
    except (TimeoutError, MemoryError):
        raise _too_long(limit) from None


def _too_long(limit: float) -> LimitExceeded:
    return LimitExceeded(
        "R206",
        f"a regular expression took longer than {limit:g} s",
        hint="repeats inside repeats, such as `(a+)+`, take forever on some texts",
    )


def matches(run: Run, subject: str, pattern: str | Regex) -> bool:
    """Give `subject =~ pattern`."""
    ready = compiled(run, pattern)
    text = subject_text(run, ready, subject)
    return text is not None and search(run, ready, text) is not None


def quick_search(pattern: str, modifiers: str | None) -> tuple[Callable[[str], Match | None], int]:
    """Give the engine's search for a constant pattern, and below which length of subject it needs no clock.

    0 where the subject has to be decoded first. Raises PatternError.
    """
    ready = _compile(*unwrap(pattern)) if modifiers is None else _compile(pattern, modifiers)
    return ready.engine.search, 0 if ready.utf8 else ready.cheap_below


def first(run: Run, pattern: Compiled, subject: str) -> list[str] | None:
    """Give the first match's whole and groups as byte strings, or None."""
    text = subject_text(run, pattern, subject)
    match = None if text is None else search(run, pattern, text)
    return None if match is None else pattern.texts(match)


def find_all(run: Run, pattern: Compiled, subject: str, limit: int = 0) -> list[Match]:
    """Give the matches in a subject from `subject_text`, at most `limit` unless that is 0. Raises LimitExceeded."""
    wanted = limit or (1 << 62)

    def gather(timeout: float | None) -> list[Match]:
        return list(islice(pattern.engine.finditer(subject, timeout=timeout), min(wanted, _CHUNK)))

    if len(subject) < pattern.cheap_below and len(subject) < _CHUNK // 2:
        return gather(None)
    if len(subject) < _WORKER_FROM:
        started = time.perf_counter()
        try:
            found = gather(min(_INLINE_S, run.limits.regex_s))
            if len(found) < _CHUNK or wanted <= _CHUNK:
                return found
        except (TimeoutError, MemoryError):
            found = []
        finally:
            run.charge(1 + int((time.perf_counter() - started) * 1e6))
    iterator = pattern.engine.finditer(subject, concurrent=run.waiter is not None, timeout=run.limits.regex_s)
    found = []
    growth = Growth(run)
    while len(found) < wanted:
        try:
            chunk = run.offload(list, islice(iterator, min(wanted - len(found), _CHUNK)))
        except (TimeoutError, MemoryError):
            raise _too_long(run.limits.regex_s) from None
        if not chunk:
            break
        growth.add(len(chunk) * _MATCH_BYTES)
        found.extend(chunk)
    return found


def decoded(pattern: Compiled, text: str) -> str:
    """Give a part of a `subject_text` as the bytes it stands for."""
    return _as_bytes(text) if pattern.utf8 else text
