"""What a syntax error is called. In: what was read, what was refused, what was awaited. Out: a `Mistake`.

Words are in the script's terms: missing brackets by what they close, habits of PHP by HSL's way.
Knows the names of the grammar's words, but neither the parser nor the tree.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import NamedTuple

from hslpy.lang.build import ILLEGAL_NAMES
from hslpy.lang.diagnostics import Diagnostic
from hslpy.lang.source import Source, Span
from hslpy.records import dataclass


class Word(NamedTuple):
    """A word of the script: `kind` is the grammar's name for it."""

    kind: str
    text: str
    start: int
    end: int


class Insertion(NamedTuple):
    """A word whose absence is the mistake."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """`insertion` mends it, if anything does; nothing after a `fatal` one can be read."""

    diagnostic: Diagnostic
    insertion: Insertion | None = None
    fatal: bool = False


class Opened(NamedTuple):
    """A bracket not closed yet: `what` it belongs to, where that starts, and the parser's depth."""

    bracket: Word
    what: str
    start: int
    depth: int


SEMICOLON = Insertion("SEMICOLON", ";")
_CLOSERS = {"LPAR": Insertion("RPAR", ")"), "LSQB": Insertion("RSQB", "]"), "LBRACE": Insertion("RBRACE", "}")}
_PAIRS = {closer.kind: opener for opener, closer in _CLOSERS.items()}


def _kinds(words: str) -> frozenset[str]:
    return frozenset(words.split())


_VALUE_ENDS = _kinds("NAME IDENT VARIABLE RPAR RSQB STRING RAW_STRING NUMBER MATCH INCREMENT RBRACE")
_HEADS = _kinds("_IF _WHILE _FOR _FOREACH _SWITCH _CATCH _ISSET _UNSET _ARRAY MATCH _CLOSURE")
_BLOCK_HEADS = _HEADS | _kinds("_ELSE _TRY _FOREVER _BARRIER _CLASS _FUNCTION _IMPORT CONSTRUCTOR")
_STATEMENT_ENDS = _kinds(
    "SEMICOLON LBRACE RBRACE $END _CASE _DEFAULT _ELSE _CATCH _BARRIER _BREAK _CLASS _CONTINUE _ECHO _FOR _FOREACH"
    " _FOREVER _FUNCTION _GLOBAL _IF _IMPORT _INCLUDE _INCLUDE_ONCE _RETURN _SWITCH _THROW _TRY _WHILE"
)


@dataclass
class Trail:
    """The last words read and the brackets open after them."""

    source: Source
    open: list[Opened] = field(default_factory=list)
    last: Word | None = None
    before: Word | None = None
    callee: Word | None = None  # what stood before the bracket that `last` closes, if it closes one
    head: Word | None = None  # the word of the statement whose block comes next: `foreach`, `class`, ...
    askew: tuple[Word, Opened] | None = None  # the first `}` not indented as the line it was opened in

    @property
    def end(self) -> int:
        return self.last.end if self.last else 0

    def add(self, word: Word, depth: int) -> None:
        """Take in one word that the parser accepted."""
        kind = word.kind
        self.callee = None
        if kind in _CLOSERS:
            what, start = self._opening(word)
            self.open.append(Opened(word, what, start, depth))
        elif kind in _PAIRS and self.open:
            closed = self.open.pop()
            if (
                kind == "RBRACE"
                and self.askew is None
                and self._indent(word.start) not in (None, self._line_indent(closed.start))
            ):
                self.askew = (word, closed)
            if kind == "RPAR" and closed.what == "the call":
                self.callee = self._callees.pop() if self._callees else None
        elif kind in _BLOCK_HEADS:
            self.head = word
        elif kind == "SEMICOLON" and not (self.open and self.open[-1].what == "`for`"):
            self.head = None
        self.before, self.last = self.last, word

    _callees: list[Word] = field(default_factory=list)

    def _opening(self, word: Word) -> tuple[str, int]:
        last = self.last
        if last is not None and last.kind in _HEADS:
            return f"`{last.text}`", last.start
        if word.kind == "LBRACE":
            head, self.head = self.head, None
            return (f"`{head.text}`", head.start) if head else ("the block", word.start)
        if word.kind == "LPAR" and self.head is not None and self.head.kind in ("_FUNCTION", "CONSTRUCTOR"):
            return "the parameters", word.start
        if last is not None and last.kind in _VALUE_ENDS:
            if word.kind == "LPAR":
                self._callees.append(last)
                return "the call", word.start
            return "the index", word.start
        return ("the parenthesis" if word.kind == "LPAR" else "the array"), word.start

    def _line_indent(self, at: int) -> int:
        line = self.source.line(self.source.position(at)[0])
        return len(line) - len(line.lstrip())

    def _indent(self, at: int) -> int | None:
        """Give the indentation of the line in which `at` is the first word, else None."""
        indent = self._line_indent(at)
        return indent if self.source.position(at)[1] == indent + 1 else None

    def close_beyond(self, depth: int) -> None:
        """Forget brackets opened since the parser was at `depth`."""
        while self.open and self.open[-1].depth > depth:
            self.open.pop()
        self.head = self.callee = None
        self._callees.clear()

    def span(self, start: int, end: int) -> Span:
        return Span(self.source, start, end)

    def place(self, offset: int) -> str:
        line, column = self.source.position(offset)
        return f"{line}:{column}"


# ---- a word that does not fit ---------------------------------------------------------------------


def unexpected_word(trail: Trail, word: Word, wanted: frozenset[str]) -> Mistake:
    """Word the error of a word that does not fit where it stands."""
    return (
        _unclosed_text(trail, word)
        or _runaway_string(trail, word)
        or _habit(trail, word, wanted)
        or _missing_closer(trail, word, wanted)
        or _missing_semicolon(trail, word, wanted)
        or _stray_closer(trail, word)
        or _kept_word(trail, word, wanted)
        or _plain(trail, word, wanted)
    )


def _unclosed_text(trail: Trail, word: Word) -> Mistake | None:
    text = trail.source.text
    for start in (word.start, word.start - 1):
        if start >= 0 and text.startswith("/*", start) and "*/" not in text[start + 2 :]:
            message = f"this comment is not closed: no `*/` follows `/*` at {trail.place(start)}"
            return Mistake(Diagnostic("E107", trail.span(start, start + 2), message), fatal=True)
    return None


def _runaway_string(trail: Trail, word: Word) -> Mistake | None:
    """A string that touches a word most likely lacks a quote further up; what follows is read inside out."""
    last = trail.last
    if last is None or last.end != word.start:
        return None
    if last.kind == "STRING" and word.kind in ("NAME", "IDENT", "NUMBER", "VARIABLE"):
        message = f"this string goes on to {trail.place(last.end - 1)}, right before `{word.text}`"
        span = trail.span(last.start, last.start + 1)
        hint = 'is its closing `"` missing?'
        if re.search(r"\$\{?\$?\w+\[$", last.text[:-1]):
            hint = 'a string takes plain variables only; put the value in with `.`, as in `"text " . $array["key"]`'
        return Mistake(Diagnostic("E105", span, message, hint), fatal=True)
    if word.kind == "STRING" and last.kind == "NAME":
        message = f"a string begins right after `{last.text}`"
        span = trail.span(word.start, word.start + 1)
        return Mistake(Diagnostic("E105", span, message, f'is a `"` missing before `{last.text}`?'), fatal=True)
    return None


# Operators of other languages that reach us as two words: text, what to do, code by the position of the refused word in it.
_FOREIGN_OPERATORS = (
    ("&&", "write `and`"),
    ("||", "write `or`"),
    ("<=>", "compare with `<`, `==` and `>`"),
    ("??=", "write `$x = $x ?? ...`"),
    ("<<=", "write `$x = $x << ...`"),
    (">>>=", "write `$x = $x >>> ...`"),
    (">>=", "write `$x = $x >> ...`"),
    ("&=", "write `$x = $x & ...`"),
    ("|=", "write `$x = $x | ...`"),
    ("^=", "write `$x = $x ^ ...`"),
    ("?->", "write `isset($x) ? $x->y : none`"),
    ("<>", "write `!=`"),
    (":=", "write `=`"),
)
_WORD_HABITS = {
    "xor": "write `!=` between two booleans",
    "new": "an object is made by calling its class: `Name(...)`",
    "print": "write `echo`",
    "elseif": "write `else if`",
    "elsif": "write `else if`",
    "elif": "write `else if`",
    "use": "captured variables follow `closure`: `function () closure ($x) { ... }`",
    "instanceof": "HSL has no classes of values to ask for",
    "public": "members are public unless `private` stands before them",
    "protected": "a member is public, or `private`",
    "extends": "HSL has no inheritance",
    "implements": "HSL has no interfaces",
    "interface": "HSL has no interfaces",
    "finally": "HSL has no `finally`: `catch` is the last part of `try`",
    "var": "a variable begins where it is assigned: `$x = 1;`",
    "let": "a variable begins where it is assigned: `$x = 1;`",
    "const": "a variable begins where it is assigned: `$x = 1;`",
    "do": "HSL has no `do`: write `forever { ... if (...) break; }`",
    "unless": "write `if (!...)`",
    "fn": "write `function ($x) { return ...; }`",
    "def": "a function is declared by `function name(...) { ... }`",
    "func": "a function is declared by `function name(...) { ... }`",
    "null": "write `none`",
    "then": "the statement follows the bracket: `if (...) echo 1;`",
}


def _habit(trail: Trail, word: Word, wanted: frozenset[str]) -> Mistake | None:
    text = trail.source.text
    if text.startswith("<?", word.start):
        return _wrong(trail, "E112", word.start, word.start + 2, "HSL has no tags around its code", "take the tag away")
    for operator, hint in _FOREIGN_OPERATORS:
        start = text.rfind(operator, max(word.start - len(operator) + 1, 0), word.start + len(operator))
        if start >= 0 and start <= word.start < start + len(operator):
            return _wrong(trail, "E112", start, start + len(operator), f"HSL has no operator `{operator}`", hint)
    last = trail.last
    if word.kind == "NAME" and last is not None and last.kind == "NUMBER" and last.end == word.start:
        if re.fullmatch(r"e\d*", word.text, re.IGNORECASE):
            return _wrong(trail, "E120", last.start, word.end, "numbers have no exponent in HSL", "write it in full")
        return _wrong(trail, "E120", last.start, word.end, f"`{last.text}{word.text}` is no number")
    if word.kind == "NAME" and last is not None and last.kind == "REGEX" and last.end == word.start:
        return _wrong(
            trail, "E108", word.start, word.end, f"unknown regex modifier `{word.text}`", "the modifiers are i m s u x U X"
        )
    if word.kind == "CONCAT" and re.match(r"\.\d", text[word.start : word.start + 2]) and "NUMBER" in wanted:
        return _wrong(
            trail,
            "E120",
            word.start,
            word.start + 2,
            "a number begins with a digit",
            f"write `0{text[word.start : word.start + 2]}`",
        )
    if word.kind in ("NAME", "IDENT") and word.text in _WORD_HABITS:
        return _habit_word(trail, word)
    callee = trail.callee
    if callee is not None and callee.text in _WORD_HABITS:
        return _habit_word(trail, callee)
    if callee is not None and callee.kind == "NAME" and word.kind == "LBRACE" and "SEMICOLON" in wanted:
        hint = "a function is declared by `function name(...) { ... }`"
        return _wrong(trail, "E103", word.start, word.end, f"a block cannot follow the call of `{callee.text}`", hint)
    is_habit = last is not None and last.kind == "NAME" and (last.text in _WORD_HABITS or last.text in ILLEGAL_NAMES)
    if last is not None and is_habit and word.start > last.end:
        return _habit_word(trail, last)
    if word.kind == "COMMA" and trail.open and trail.open[-1].what in ("`isset`", "`unset`"):
        what = trail.open[-1].what.strip("`")
        joint = "and" if what == "isset" else ";"
        hint = f"write `{what}($a) and {what}($b)`" if joint == "and" else "write one `unset` for each"
        return _wrong(trail, "E103", word.start, word.end, f"`{what}` takes one variable", hint)
    return None


def _habit_word(trail: Trail, word: Word) -> Mistake:
    hint = _WORD_HABITS.get(word.text) or None
    code = "E110" if word.text in ILLEGAL_NAMES else "E112"
    return _wrong(trail, code, word.start, word.end, f"`{word.text}` is not HSL", hint)


def _missing_closer(trail: Trail, word: Word, wanted: frozenset[str]) -> Mistake | None:
    if not trail.open:
        return None
    top = trail.open[-1]
    closer = _CLOSERS[top.bracket.kind]
    at_end = word.kind == "$END"
    if closer.kind == word.kind or not (word.kind in _STATEMENT_ENDS or word.kind in _PAIRS):
        return None
    if not at_end and (closer.kind not in wanted or closer.kind == "RBRACE"):
        return None
    message = f"missing `{closer.text}` to close {top.what} opened at {trail.place(top.start)}"
    place = trail.span(trail.end, trail.end) if at_end else trail.span(word.start, word.end)
    hint = None
    if at_end and trail.askew is not None and closer.kind == "RBRACE":
        word, opened = trail.askew
        other = f"{opened.what} opened at {trail.place(opened.start)}"
        hint = f"by its indentation, the `}}` at {trail.place(word.start)} was not meant for {other}"
    fits = closer.kind in wanted and not at_end
    return Mistake(Diagnostic("E102", place, message, hint), closer if fits else None, fatal=at_end)


def _missing_semicolon(trail: Trail, word: Word, wanted: frozenset[str]) -> Mistake | None:
    last = trail.last
    if "SEMICOLON" not in wanted or "_ECHO" in wanted or last is None or (trail.open and trail.open[-1].what == "`for`"):
        return None
    starts_anew = word.kind in _STATEMENT_ENDS or (
        word.kind in ("VARIABLE", "NAME", "RBRACE", "INCREMENT", "STATIC")
        and trail.source.position(word.start)[0] > trail.source.position(last.start)[0]
    )
    if not starts_anew:
        return None
    message = f"missing `;` after {_shown(last)}"
    return Mistake(Diagnostic("E101", trail.span(last.end, last.end), message), SEMICOLON)


def _stray_closer(trail: Trail, word: Word) -> Mistake | None:
    if word.kind not in _PAIRS:
        return None
    if trail.open and trail.open[-1].bracket.kind == _PAIRS[word.kind]:
        return None
    if not trail.open:
        return _wrong(trail, "E104", word.start, word.end, f"`{word.text}` closes nothing")
    top = trail.open[-1]
    message = f"`{word.text}` cannot close {top.what} opened at {trail.place(top.start)}"
    return _wrong(trail, "E104", word.start, word.end, message, f"`{_CLOSERS[top.bracket.kind].text}` does")


def _kept_word(trail: Trail, word: Word, wanted: frozenset[str]) -> Mistake | None:
    is_word = re.fullmatch(r"[A-Za-z_]\w*", word.text, re.ASCII) is not None
    if not is_word or word.kind in ("NAME", "IDENT") or "NAME" not in wanted or "STRING" in wanted:
        return None
    return _wrong(trail, "E111", word.start, word.end, f"`{word.text}` is a word of the language and cannot be a name")


def _plain(trail: Trail, word: Word, wanted: frozenset[str]) -> Mistake:
    found = "the script ends" if word.kind == "$END" else f"unexpected {_shown(word)}"
    awaited = _awaited(wanted)
    message = f"{found}, wanted {awaited}" if awaited else found
    if word.kind == "$END":
        return Mistake(Diagnostic("E103", trail.span(trail.end, trail.end), message), fatal=True)
    return _wrong(trail, "E103", word.start, word.end, message, _plain_hint(trail, word, wanted))


def _plain_hint(trail: Trail, word: Word, wanted: frozenset[str]) -> str | None:
    if wanted == {"VARIABLE"}:
        if word.kind == "NAME":
            return f"a variable has a dollar: `${word.text}`"
        if word.kind == "LSQB":
            return "take the value apart in a statement of its own: `[$a, $b] = $item;`"
    if word.kind in ("VARIABLE", "STRING", "RAW_STRING", "COMMA") and {"CONCAT", "SEMICOLON"} <= wanted:
        return "strings are joined by `.`"
    if trail.open and trail.open[-1].what == "`for`" and "SEMICOLON" in wanted:
        return "`for` has three parts: `for (start; condition; step)`"
    if trail.open and trail.open[-1].what == "the parameters" and word.kind == "NAME":
        return "parameters have no types"
    hints = {
        "EQUALS": ("CONCAT", "`==` compares"),
        "VARIABLE": ("IDENT", "a member named by a variable is `[...]`: `$object[$name]`"),
        "BITAND": ("VARIABLE", "HSL has no `&` for references"),
        "LBRACE": ("NUMBER", "arrays are in `[...]`"),
        "COLON": ("_CLOSURE", "functions have no declared type of result")
        if "_CLOSURE" in wanted
        else ("CONCAT", "`=>` parts key and value"),
    }
    needs, hint = hints.get(word.kind, ("", ""))
    return hint if needs in wanted else None


def _shown(word: Word) -> str:
    if word.kind in ("STRING", "RAW_STRING"):
        return "the string"
    if word.kind == "NUMBER":
        return f"the number `{word.text}`" if len(word.text) <= 20 else "the number"
    return f"`{word.text}`" if len(word.text) <= 30 else f"`{word.text[:27]}...`"


_AWAITED = {
    "SEMICOLON": "`;`",
    "COMMA": "`,`",
    "RPAR": "`)`",
    "RSQB": "`]`",
    "RBRACE": "`}`",
    "LPAR": "`(`",
    "LBRACE": "`{`",
    "COLON": "`:`",
    "VARIABLE": "a variable",
    "NAME": "a name",
    "IDENT": "a name",
    "STRING": "a string",
    "_AS": "`as`",
    "_FROM": "`from`",
    "_CATCH": "`catch`",
    "_FUNCTION": "`function`",
    "CONSTRUCTOR": "`constructor`",
    "STAR": "`*`",
    "EQUALS": "`=`",
    "_CLOSURE": "`closure`",
}


_AFTER_VALUE = _kinds("_AS COLON SEMICOLON COMMA RPAR RSQB")


def _awaited(wanted: frozenset[str]) -> str | None:
    """Say what could stand here, if that can be said in a few words."""
    if "_ECHO" in wanted:
        return "a statement"
    if "NUMBER" in wanted:
        return "a value"
    after_value = "CONCAT" in wanted
    rows = [kind for kind in _AWAITED if kind in wanted and (not after_value or kind in _AFTER_VALUE)]
    names = list(dict.fromkeys(_AWAITED[kind] for kind in rows))
    if not names:
        return None
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


# ---- text that is no word -------------------------------------------------------------------------


def unexpected_text(trail: Trail, at: int) -> Mistake:
    """Word the error of text in which no word of the language begins."""
    text = trail.source.text
    mark = text[at]
    if mark == '"':
        return _fatal(trail, "E105", at, f'this string is not closed: no `"` follows the one at {trail.place(at)}')
    if mark == "'":
        return _single_quote(trail, at)
    if mark == "#":
        if text.startswith("#/", at):
            end = _line_end(text, at)
            return _wrong(
                trail,
                "E108",
                at,
                end,
                "this regex is not closed: `/` must follow on the same line",
                "a slash inside is written `\\/`",
            )
        return _wrong(trail, "E113", at, at + 1, "`#` begins no comment in HSL", "write `//`")
    if mark == "$":
        return _wrong(trail, "E109", at, at + 1, "a name must follow `$`", "a name begins with a letter or `_`")
    if mark == "`":
        return _wrong(trail, "E109", at, at + 1, "a backquote means nothing in HSL", 'strings are in double quotes: `"..."`')
    run = re.compile(r"[\x80-\xff]+").match(text, at)
    if run is None:
        shown = f"`{mark}`" if mark.isprintable() else f"byte {ord(mark):#04x}"
        return _wrong(trail, "E109", at, at + 1, f"unexpected {shown}")
    try:
        letters = run[0].encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return _wrong(
            trail, "E109", at, run.end(), f"unexpected byte {ord(mark):#04x}", "only strings and comments hold such bytes"
        )
    letter = letters[0]
    end = at + len(letter.encode())
    if letter in "“”„‟«»‘’‚‛":
        return _wrong(trail, "E109", at, end, f"unexpected {letter}", 'HSL\'s quotes are straight: `"..."`')
    if letter.isspace() or not letter.isprintable():
        return _wrong(
            trail,
            "E109",
            at,
            end,
            f"unexpected invisible character U+{ord(letter):04X}",
            "delete it, or write a plain space",
        )
    return _wrong(trail, "E109", at, end, f"unexpected `{letter}`", "only strings and comments hold such letters")


def _single_quote(trail: Trail, at: int) -> Mistake:
    text = trail.source.text
    raw = re.compile(r"'([\x21-\x26\x28-\x7e]*)'").match(text, at)
    habit = re.compile(r"'[^'\n]*'").match(text, at)
    if (
        raw is not None
        and (raw[1] == "" or text[raw.end() : raw.end() + 1] in ("", "\n", "\r"))
        and not (trail.last is None and raw[1])
    ):
        return _fatal(
            trail,
            "E106",
            at,
            f"this raw string is not closed: no second `{raw[0]}` follows the one at {trail.place(at)}",
            raw.end(),
        )
    if habit is not None:
        inside = habit[0][1:-1].replace("\\'", "'").replace('"', '\\"')
        is_whole = len(inside) <= 40 and not re.match(r"\w", text[habit.end() : habit.end() + 1])
        hint = f'write `"{inside}"`' if is_whole else None
        return _wrong(trail, "E106", at, habit.end(), "strings are in double quotes", hint)
    return _fatal(trail, "E106", at, "strings are in double quotes")


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return end if end >= 0 else len(text)


def _wrong(trail: Trail, code: str, start: int, end: int, message: str, hint: str | None = None) -> Mistake:
    return Mistake(Diagnostic(code, trail.span(start, end), message, hint))


def _fatal(trail: Trail, code: str, at: int, message: str, end: int | None = None) -> Mistake:
    return Mistake(Diagnostic(code, trail.span(at, end or at + 1), message), fatal=True)
