"""Looks for what rules name in a message: file names, types, digests and texts, in parts and archives within them.

In: a message's bytes and rules. Out: which rule matched in which part. Works in threads of its own, within limits. Must not
know scripts. Source: the HSL manual, ScanDLP, 2015 to 2019, and the vendor's page on data loss prevention.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from hslpy.errors import OperatorError
from hslpy.lang.pcre import PatternError
from hslpy.lang.regex import Compiled, compiled_text
from hslpy.mail.encoded_word import to_utf8
from hslpy.mail.parts import Part, parameters
from hslpy.records import dataclass
from hslpy.scan.archives import BadArchive, Budget, entries, is_archive
from hslpy.scan.file_types import ENCRYPTED_OFFICE, is_text, media_types

UNKNOWN_ERROR, PASSWORD_PROTECTED, RECURSION_LIMIT = "ERR_UNKNOWN_ERROR", "ERR_PASSWORD_PROTECTED", "ERR_RECURSION_LIMIT"
BUILT_IN = (UNKNOWN_ERROR, PASSWORD_PROTECTED, RECURSION_LIMIT)

_LONG_HEADER_BYTES = 1 << 20
_DIGESTS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}  # by the length of their hexadecimal text


@dataclass(frozen=True, slots=True)
class DlpRule:
    """What one rule names: it matches what any of its patterns does. Patterns are regular expressions, digests hexadecimal.

    `regex` is looked for in headers, texts and file contents. A pattern without slashes ignores case.
    """

    name: str
    filename: tuple[str, ...] = ()
    mimetype: tuple[str, ...] = ()
    regex: tuple[str, ...] = ()
    md5hash: tuple[str, ...] = ()
    sha1hash: tuple[str, ...] = ()
    sha2hash: tuple[str, ...] = ()


KINDS = ("filename", "mimetype", "regex", "md5hash", "sha1hash", "sha2hash")


@dataclass(frozen=True, slots=True)
class DlpSettings:
    """`timeout_s` holds for a whole scan, waiting included. The limits are of what one message's archives may unpack to."""

    rules: tuple[DlpRule, ...] = ()
    timeout_s: float = 30.0
    max_unpacked_bytes: int = 64 * 1024 * 1024
    max_files: int = 10_000
    concurrency: int = 2


@dataclass(frozen=True, slots=True)
class DlpOptions:
    """`timeout_s` None: that of the settings, which it never exceeds."""

    stop_on_match: bool = False
    timeout_s: float | None = None
    recursion_limit: int = 9


@dataclass(frozen=True, slots=True)
class DlpResult:
    """`matches` are (rule, part id) as found, each once; `problem` says what kept the scan from being whole."""

    matches: tuple[tuple[str, str], ...] = ()
    problem: str = ""


class BadPattern(Exception):
    """A rule's pattern is none; the message says which and why."""


class DlpEngine:
    """Scans messages in threads, made when first needed. Must be closed."""

    def __init__(self, settings: DlpSettings | None = None) -> None:
        """Raises OperatorError for a rule that cannot be used."""
        self.settings = settings = settings or DlpSettings()
        self.rules: Mapping[str, DlpRule] = {rule.name: rule for rule in settings.rules}
        if len(self.rules) < len(settings.rules) or any(name in BUILT_IN for name in self.rules):
            raise OperatorError("rules of `scanners.dlp` want names of their own")
        for rule in settings.rules:
            try:
                read_rule(rule)
            except BadPattern as error:
                raise OperatorError(f"`scanners.dlp.rules`: {error}") from None
        self._threads: ThreadPoolExecutor | None = None

    async def scan(self, content: bytes, rules: Sequence[DlpRule], options: DlpOptions) -> DlpResult:
        """Raises BadPattern."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.settings.concurrency, "dlp")
        limit = self.settings.timeout_s
        if options.timeout_s is not None:
            limit = min(limit, options.timeout_s)
        scan = _Scan(content, rules, options, self.settings, time.perf_counter() + limit)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, scan.run)
        finally:
            scan.cancelled.set()  # for a run that ends while we wait

    async def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


@dataclass(frozen=True, slots=True)
class _Ready:
    """A rule with its patterns compiled; `digests` by algorithm."""

    name: str
    filename: tuple[Compiled, ...]
    mimetype: tuple[Compiled, ...]
    regex: tuple[Compiled, ...]
    digests: Mapping[str, frozenset[str]]


def read_rule(rule: DlpRule, look: Callable[[], None] = lambda: None) -> _Ready:
    """Give the rule ready for use; `look` is called between patterns. Raises BadPattern."""
    digests: dict[str, set[str]] = {}
    for kind, lengths in (("md5hash", (32,)), ("sha1hash", (40,)), ("sha2hash", (64, 128))):
        for text in getattr(rule, kind):
            if len(text) not in lengths or not all(letter in "0123456789abcdefABCDEF" for letter in text):
                raise BadPattern(f"rule {rule.name} wants hexadecimal digests as {kind}")
            digests.setdefault(_DIGESTS[len(text)], set()).add(text.lower())
    return _Ready(
        name=rule.name,
        filename=_patterns(rule, "filename", look),
        mimetype=_patterns(rule, "mimetype", look),
        regex=_patterns(rule, "regex", look),
        digests={name: frozenset(found) for name, found in digests.items()},
    )


def _patterns(rule: DlpRule, kind: str, look: Callable[[], None]) -> tuple[Compiled, ...]:
    found = []
    for text in getattr(rule, kind):
        look()
        try:
            found.append(compiled_text(text, plain_modifiers="i"))
        except PatternError as error:
            raise BadPattern(f"rule {rule.name} has a bad {kind}, {error.message}") from None
    return tuple(found)


class _Stops(Exception):
    """The scan is over; `problem` "" where it found what it was to find."""

    def __init__(self, problem: str = "") -> None:
        super().__init__(problem)
        self.problem = problem


class _Scan:
    """One scan, in a thread."""

    def __init__(
        self, content: bytes, rules: Sequence[DlpRule], options: DlpOptions, settings: DlpSettings, deadline: float
    ) -> None:
        self.content = content
        self.given = rules
        self.rules: list[_Ready] = []
        self.options = options
        self.deadline = deadline
        self.cancelled = threading.Event()
        self.budget = Budget(settings.max_unpacked_bytes, settings.max_files, self.look)
        self.matches: dict[tuple[str, str], None] = {}
        self.problem = ""

    def run(self) -> DlpResult:
        try:
            self.rules = [read_rule(rule, self.look) for rule in self.given]
            self._part(Part(self.content, 0, len(self.content)))
        except _Stops as stops:
            if stops.problem:
                self._fail(stops.problem, "0")
        return DlpResult(tuple(self.matches), self.problem)

    def look(self) -> None:
        """Raises _Stops when the time is up or nobody waits any longer."""
        if self.cancelled.is_set() or time.perf_counter() > self.deadline:
            raise _Stops("no time left")

    def _match(self, rule: str, part_id: str) -> None:
        self.matches[rule, part_id] = None
        if self.options.stop_on_match and rule not in BUILT_IN:
            raise _Stops

    def _fail(self, problem: str, part_id: str) -> None:
        self.problem = self.problem or problem
        self.matches[UNKNOWN_ERROR, part_id] = None

    def _part(self, part: Part, within: str = "", above: int = 0) -> None:
        """Look at a part and all within it. A message in a file counts as the part `within`, `above` deep."""
        self.look()
        part_id = within or part.id
        depth = above + part.depth
        if depth > self.options.recursion_limit:
            self.matches[RECURSION_LIMIT, part_id] = None
            return
        header = part.header
        text = header.header.decode("latin-1")
        if len(text) > _LONG_HEADER_BYTES:  # of what may be millions of fields none is read
            unfolded = re.sub(r"\r\n(?=[ \t])", "", text)
        else:
            unfolded = "\n".join(f"{field.name}: {field.value()}" for field in header.fields)
        self._texts(part_id, [text, unfolded])
        children = part.children(lambda _: None)
        if "too_many_parts" in part.errors:
            self._fail("too many parts", part_id)
        if "too_deep" in part.errors:
            self.matches[RECURSION_LIMIT, part_id] = None
        name = part.file_name or ""
        if children:
            self._named(part_id, name, [part.type or ""])
            self._texts(part_id, [text.decode("latin-1") for text in (part.preamble, part.epilogue) if text])
            for child in children:
                self._part(child, within, above)
            return
        charset = parameters(part.value("Content-Type")).get("charset", "")
        self._file(part_id, name, part.body(), depth, part.type or "text/plain", charset)

    def _named(self, part_id: str, name: str, types: Sequence[str]) -> None:
        for rule in self.rules:
            if (name and self._found(rule.filename, [name])) or self._found(rule.mimetype, types):
                self._match(rule.name, part_id)

    def _file(self, part_id: str, name: str, data: bytes, depth: int, declared: str = "", charset: str = "") -> None:
        """Look at a body, or at a file out of an archive."""
        self.look()
        types = media_types(data) if data else []
        self._named(part_id, name, [*([declared] if declared else []), *types])
        self._digests(part_id, data)
        self._texts(part_id, _readings(data, declared, charset))
        if ENCRYPTED_OFFICE in types:
            self.matches[PASSWORD_PROTECTED, part_id] = None
        is_message = declared.startswith("message/rfc822") or name.lower().endswith(".eml")
        if not is_message and not is_archive(types):
            return
        if depth >= self.options.recursion_limit:
            self.matches[RECURSION_LIMIT, part_id] = None
            return
        if is_message:
            self._part(Part(data, 0, len(data)), part_id, depth + 1)
            return
        try:
            for entry in entries(data, types, name, self.budget):
                if entry.data is None:
                    self.matches[PASSWORD_PROTECTED, part_id] = None
                    self._named(part_id, entry.name, [])
                else:
                    self._file(part_id, entry.name, entry.data, depth + 1)
        except BadArchive as error:
            self._fail(f"archive {name or part_id}: {error}", part_id)

    def _digests(self, part_id: str, data: bytes) -> None:
        made: dict[str, str] = {}
        for rule in self.rules:
            for algorithm, wanted in rule.digests.items():
                if algorithm not in made:
                    made[algorithm] = hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()
                if made[algorithm] in wanted:
                    self._match(rule.name, part_id)

    def _texts(self, part_id: str, texts: Sequence[str]) -> None:
        for rule in self.rules:
            if (rule.name, part_id) not in self.matches and self._found(rule.regex, texts):
                self._match(rule.name, part_id)

    def _found(self, patterns: Sequence[Compiled], texts: Sequence[str]) -> bool:
        for pattern in patterns:
            for text in _subjects(pattern, texts):
                self.look()
                left = max(0.001, self.deadline - time.perf_counter())
                try:
                    if pattern.engine.search(text, timeout=left, concurrent=True):
                        return True
                except TimeoutError:
                    raise _Stops("no time left") from None
                except MemoryError:
                    raise _Stops("a regular expression took too much memory") from None
        return False


def _subjects(pattern: Compiled, texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        if not pattern.utf8:
            yield text
            continue
        try:
            yield text.encode("latin-1").decode("utf-8")
        except UnicodeDecodeError:
            continue


def _readings(data: bytes, declared: str, charset: str) -> list[str]:
    """Give the bytes as texts: as they are, and as UTF-8 where their charset is another."""
    readings = [data.decode("latin-1")]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        charset = "utf-16"
    elif charset.lower() in ("", "utf-8", "utf8", "us-ascii") or not declared.startswith("text/"):
        return readings
    if is_text(data) or charset.lower().startswith(("utf-16", "utf-32")):
        readings.append(to_utf8(data, charset))
    return readings
