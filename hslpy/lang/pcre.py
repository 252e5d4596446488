"""From a Perl-compatible pattern to one of the `regex` module: the two dialects' differences, and a bound on the cost.

In: pattern text and modifiers. Out: `Translation`, or `PatternError` with a position. It doesn't match anything.
Literals, classes and escapes are written anew in the narrow form that means the same in both; comments and the
white space of `x` are dropped; `U` is resolved into the quantifiers. Source: the pcrepattern(3) manual page.
"""

from __future__ import annotations

import math
import re
from dataclasses import field

from hslpy.records import dataclass

MOST_CHARACTERS = 32_768  # of a pattern: translating and compiling that takes about a third of a second
MOST_NESTING = 150  # groups; the regex module's compiler recurses
MOST_REPEATS = 65_535  # pcrepattern(3), Repetition

_QUANTIFIER = re.compile(r"[*+?]|\{([0-9]+)(?:(,)([0-9]*))?\}")
_POSIX = re.compile(r"\[([:.=])(\^?)([a-zA-Z]*)\1\]")
_POSIX_NAMES = frozenset(
    (
        "alnum",
        "alpha",
        "ascii",
        "blank",
        "cntrl",
        "digit",
        "graph",
        "lower",
        "print",
        "punct",
        "space",
        "upper",
        "word",
        "xdigit",
    )
)
_GROUP_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_FLAGS = re.compile(r"([imsxUXJ]*)(?:-([imsxUXJ]*))?([:)])")
_HORIZONTAL, _VERTICAL = "\\t\\x20\\xa0", "\\n\\x0b\\f\\r\\x85"  # pcrepattern(3), Generic character types
_CONTROL = {"a": "\x07", "e": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_KEPT_OUTSIDE = frozenset("dDwWsSbBAGXK")
_TYPES_OUTSIDE = {
    "h": f"[{_HORIZONTAL}]",
    "H": f"[^{_HORIZONTAL}]",
    "v": f"[{_VERTICAL}]",
    "V": f"[^{_VERTICAL}]",
    "N": "[^\\n]",
    "R": f"(?>\\r\\n|[{_VERTICAL}])",
    "z": "\\Z",
    "Z": "(?=\\n?\\Z)",
    "C": "(?s:.)",
}
_TYPES_IN_CLASS = {"h": _HORIZONTAL, "v": _VERTICAL, "H": f"[^{_HORIZONTAL}]", "V": f"[^{_VERTICAL}]"}
_FOREVER = math.inf


class PatternError(Exception):
    """A pattern that PCRE or we refuse. `position` is the offset in the pattern where the fault shows."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


@dataclass(frozen=True, slots=True)
class Translation:
    """`text` for the regex module with `flags` among i, m, s; `utf8` asks for decoding.

    Matching a subject of n characters takes at most about `factor * (n + 1) ** degree` steps; `degree` is infinite
    where no such bound is known. `origins[i]` is the position in the pattern of the character at `starts[i]` of `text`.
    """

    text: str
    flags: str
    utf8: bool
    degree: float
    factor: float
    starts: tuple[int, ...]
    origins: tuple[int, ...]

    def origin(self, position: int) -> int:
        """Give the place in the pattern that a position in `text` came from."""
        best = 0
        for start, origin in zip(self.starts, self.origins, strict=True):
            if start > position:
                break
            best = origin
        return best


@dataclass(slots=True)
class _Group:
    """An open group: what holds inside it, and what its inside costs so far."""

    opened: int
    first_piece: int
    extended: bool
    ungreedy: bool
    degree: float = 0.0
    factor: float = 1.0
    varies: bool = False


@dataclass(slots=True)
class _Atom:
    """The last item, which a quantifier may follow: its first piece, and the cost of its inside."""

    piece: int
    group: _Group | None = None
    quantified: bool = False


@dataclass(slots=True)
class _Translator:
    pattern: str
    utf8: bool
    extended: bool
    ungreedy: bool
    strict: bool
    position: int = 0
    captures: int = 0
    pieces: list[str] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    groups: list[_Group] = field(default_factory=list)
    atom: _Atom | None = None

    # ---- the walk --------------------------------------------------------------------------------

    def translate(self) -> _Group:
        pattern = self.pattern
        self.groups.append(_Group(0, 0, self.extended, self.ungreedy))
        self._start_options()
        while self.position < len(pattern):
            character = pattern[self.position]
            if character == "\\":
                self._escape()
            elif character == "[":
                self._atom_piece(self._class())
            elif character == "(":
                self._open()
            elif character == ")":
                self._close()
            elif character == "|":
                self._emit("|")
                self.position += 1
                group = self.groups[-1]
                group.varies = True
                group.factor += 1
                self.atom = None
            elif character in "*+?" or (character == "{" and _QUANTIFIER.match(pattern, self.position)):
                self._quantifier()
            elif self.groups[-1].extended and character in " \t\n\r\f\x0b":
                self.position += 1
            elif self.groups[-1].extended and character == "#":
                end = pattern.find("\n", self.position)
                self.position = len(pattern) if end < 0 else end + 1
            elif character in "^$":
                self._emit(character)
                self.position += 1
                self.atom = None
            else:
                self._atom_piece("." if character == "." else literal(character))
                self.position += 1
        if len(self.groups) > 1:
            raise PatternError("missing `)` to close the group", self.groups[-1].opened)
        return self.groups[0]

    def _emit(self, text: str, at: int | None = None) -> None:
        self.pieces.append(text)
        self.origins.append(self.position if at is None else at)

    def _atom_piece(self, text: str, at: int | None = None) -> None:
        self.atom = _Atom(len(self.pieces))
        self._emit(text, at)

    def _fail(self, message: str, at: int | None = None) -> PatternError:
        return PatternError(message, self.position if at is None else at)

    def _start_options(self) -> None:
        while True:
            found = re.compile(r"\(\*(UTF8?|UCP)\)").match(self.pattern, self.position)
            if found is None:
                return
            self.utf8 = True
            self.position = found.end()

    # ---- escapes ---------------------------------------------------------------------------------

    def _escape(self) -> None:
        start = self.position
        if start + 1 >= len(self.pattern):
            raise self._fail("`\\` at the end of the pattern")
        character = self.pattern[start + 1]
        if character == "Q":
            end = self.pattern.find("\\E", start + 2)
            text = self.pattern[start + 2 : len(self.pattern) if end < 0 else end]
            for offset, quoted in enumerate(text):
                self._atom_piece(literal(quoted), start + 2 + offset)
            self.position = len(self.pattern) if end < 0 else end + 2
            return
        if character == "E":
            self.position += 2
            return
        if character in _KEPT_OUTSIDE:
            self._atom_piece("\\" + character)
            self.position += 2
        elif character in _TYPES_OUTSIDE:
            self._atom_piece(_TYPES_OUTSIDE[character])
            self.position += 2
        elif character in "pP":
            self._atom_piece(self._property())
        elif character in "gk":
            self._reference(character)
        elif character in "123456789":
            self._numbered()
        else:
            self._atom_piece(literal(self._character()), start)

    def _character(self) -> str:
        """Give the character that the escape at `position` stands for, in a class or outside, and move behind it."""
        pattern, start = self.pattern, self.position
        character = pattern[start + 1]
        self.position += 2
        if character in _CONTROL:
            return _CONTROL[character]
        if character in "01234567":
            digits = re.compile("[0-7]{1,3}").match(pattern, start + 1)
            assert digits is not None
            self.position = digits.end()
            return self._checked(int(digits[0], 8), start)
        if character == "x":
            braced = re.compile(r"\{([0-9a-fA-F]{1,8})\}").match(pattern, self.position)
            digits = braced or re.compile("([0-9a-fA-F]{0,2})").match(pattern, self.position)
            assert digits is not None
            self.position = digits.end()
            return self._checked(int(digits[1] or "0", 16), start)
        if character == "o":
            braced = re.compile(r"\{([0-7]{1,11})\}").match(pattern, self.position)
            if braced is None:
                raise self._fail("`\\o` wants octal digits in braces", start)
            self.position = braced.end()
            return self._checked(int(braced[1], 8), start)
        if character == "c":
            if self.position >= len(pattern) or not " " <= pattern[self.position] <= "~":
                raise self._fail("`\\c` wants a printable character after it", start)
            self.position += 1
            return chr(ord(pattern[self.position - 1].upper()) ^ 64)
        if character in "LlUuN" or (self.strict and character.isascii() and character.isalpha()):
            raise self._fail(f"`\\{character}` is not supported in a pattern", start)
        return character

    def _checked(self, code: int, start: int) -> str:
        if code > (0x10FFFF if self.utf8 else 0xFF) or 0xD800 <= code <= 0xDFFF:
            raise self._fail("the character code is too large" + ("" if self.utf8 else " without modifier `u`"), start)
        return chr(code)

    def _property(self) -> str:
        found = re.compile(r"\\[pP](?:\{\^?[A-Za-z0-9_& ]{1,40}\}|[A-Z])").match(self.pattern, self.position)
        if found is None:
            raise self._fail("`\\p` wants a property, such as `\\p{L}`")
        self.position = found.end()
        return "\\p{L&}" if found[0] == "\\p{L&}" else found[0]

    def _reference(self, character: str) -> None:
        start = self.position
        found = re.compile(r"\{([^}]*)\}|<([^>]*)>|'([^']*)'|(-?[0-9]+)").match(self.pattern, start + 2)
        if found is None or (character == "k" and found[4] is not None):
            raise self._fail(f"`\\{character}` wants the name or number of a group")
        self.position = found.end()
        name = next(part for part in found.groups() if part is not None)
        if character == "g" and (found[2] is not None or found[3] is not None):
            self._call(name, start)
        else:
            self._back_reference(name, start)

    def _back_reference(self, name: str, at: int) -> None:
        if re.fullmatch("-[0-9]{1,5}", name):
            name = str(self.captures + 1 + int(name))
        if not re.fullmatch("[1-9][0-9]{0,4}", name) and not _GROUP_NAME.fullmatch(name):
            raise self._fail(f"there is no group `{name}`", at)
        self._atom_piece(f"\\g<{name}>", at)
        self.groups[-1].degree = _FOREVER

    def _call(self, name: str, at: int) -> None:
        relative = re.fullmatch("([+-])([0-9]{1,5})", name)
        if relative:
            offset = int(relative[2])
            name = str(self.captures + offset if relative[1] == "+" else self.captures + 1 - offset)
        if name in ("R", "0"):
            text = "(?R)"
        elif re.fullmatch("[1-9][0-9]{0,4}", name):
            text = f"(?{name})"
        elif _GROUP_NAME.fullmatch(name):
            text = f"(?&{name})"
        else:
            raise self._fail(f"there is no group `{name}`", at)
        self._atom_piece(text, at)
        self.groups[-1].degree = _FOREVER

    def _numbered(self) -> None:
        start = self.position
        found = re.compile("[0-9]{1,5}").match(self.pattern, start + 1)
        assert found is not None
        if len(found[0]) == 1 or int(found[0]) <= self.captures:
            self.position = found.end()
            self._back_reference(found[0], start)
        elif found[0][0] in "01234567":
            self._atom_piece(literal(self._character()), start)
        else:
            raise self._fail(f"there is no group `{found[0]}`", start)

    # ---- classes ---------------------------------------------------------------------------------

    def _class(self) -> str:
        pattern, opened = self.pattern, self.position
        self.position += 1
        parts = ["["]
        if pattern[self.position : self.position + 1] == "^":
            parts.append("^")
            self.position += 1
        first = True
        pending: str | None = None  # a single character that may begin a range
        while True:
            if self.position >= len(pattern):
                raise self._fail("missing `]` to close the class", opened)
            character = pattern[self.position]
            if character == "]" and not first:
                self.position += 1
                break
            first = False
            if character == "-" and pending is not None and self._range_follows():
                at = self.position
                self.position += 1
                last, text = self._class_item(opened)
                if last is None:
                    parts.append("\\-" + text)
                elif last < pending:
                    raise self._fail("a range in a class is out of order", at)
                else:
                    parts.append("-" + literal(last))
                pending = None
                continue
            pending, text = self._class_item(opened)
            parts.append(literal(pending) if pending is not None else text)
        parts.append("]")
        return "".join(parts)

    def _range_follows(self) -> bool:
        after = self.pattern[self.position + 1 : self.position + 2]
        return after != "" and after != "]"

    def _class_item(self, opened: int) -> tuple[str | None, str]:
        """Give one item of a class: a single character, or None and the text of what is more than one."""
        pattern = self.pattern
        character = pattern[self.position]
        if character == "[":
            found = _POSIX.match(pattern, self.position)
            if found is None:
                self.position += 1
                return "[", ""
            if found[1] != ":" or found[3] not in _POSIX_NAMES:
                raise self._fail(f"there is no class `{found[0]}`")
            self.position = found.end()
            return None, found[0]
        if character != "\\":
            self.position += 1
            return character, ""
        if self.position + 1 >= len(pattern):
            raise self._fail("missing `]` to close the class", opened)
        escaped = pattern[self.position + 1]
        if escaped in "dDwWsS":
            self.position += 2
            return None, "\\" + escaped
        if escaped in _TYPES_IN_CLASS:
            self.position += 2
            return None, _TYPES_IN_CLASS[escaped]
        if escaped in "pP":
            return None, self._property()
        if escaped == "b":
            self.position += 2
            return "\x08", ""
        if escaped == "Q":
            end = pattern.find("\\E", self.position + 2)
            if end < 0:
                raise self._fail("missing `]` to close the class", opened)
            text = pattern[self.position + 2 : end]
            self.position = end + 2
            return None, "".join(literal(quoted) for quoted in text)
        if escaped == "E":
            self.position += 2
            return None, ""
        if escaped in "BRXN":
            raise self._fail(f"`\\{escaped}` cannot stand in a class")
        return self._character(), ""

    # ---- groups ----------------------------------------------------------------------------------

    def _open(self) -> None:
        pattern, start = self.pattern, self.position
        if len(self.groups) > MOST_NESTING:
            raise self._fail(f"groups are nested more than {MOST_NESTING} deep")
        if pattern.startswith("(*", start):
            found = re.compile(r"\(\*(PRUNE|SKIP|FAIL|F)\)").match(pattern, start)
            if found is None:
                raise self._fail("this verb is not supported")
            self._emit(f"(*{found[1]})")
            self.position = found.end()
            self.groups[-1].degree = _FOREVER
            self.atom = None
            return
        if not pattern.startswith("(?", start):
            self.captures += 1
            self._begin("(", 1)
            return
        rest = pattern[start + 2 : start + 4]
        if rest.startswith("#"):
            end = pattern.find(")", start)
            if end < 0:
                raise self._fail("missing `)` to close the comment")
            self.position = end + 1
        elif rest[:1] in (":", "=", "!", ">", "|") and rest:
            if rest[0] == "|":
                self.groups[-1].degree = _FOREVER
            self._begin("(?" + rest[0], 3)
        elif rest in ("<=", "<!"):
            self._begin("(?" + rest, 4)
        elif rest[:1] in ("<", "'") or rest == "P<":
            self._named(start + (3 if rest[0] == "P" else 2))
        elif rest in ("P=", "P>") or rest[:1] == "&":
            self._call_or_reference(rest)
        elif rest[:1] == "(":
            self._condition()
        elif rest[:1] == "R" or re.compile(r"[+-]?[0-9]").match(pattern, start + 2):
            end = pattern.find(")", start)
            if end < 0:
                raise self._fail("missing `)` to close the group")
            self.position = end + 1
            self._call(pattern[start + 2 : end], start)
        else:
            self._options()

    def _begin(self, text: str, width: int) -> None:
        outer = self.groups[-1]
        self.groups.append(_Group(self.position, len(self.pieces), outer.extended, outer.ungreedy))
        self._emit(text)
        self.position += width
        self.atom = None

    def _named(self, at: int) -> None:
        closing = "'" if self.pattern[at] == "'" else ">"
        end = self.pattern.find(closing, at + 1)
        name = self.pattern[at + 1 : end] if end > 0 else ""
        if not _GROUP_NAME.fullmatch(name):
            raise self._fail("a group name wants letters, digits and `_`", at)
        self.captures += 1
        self._begin(f"(?P<{name}>", end + 1 - self.position)

    def _call_or_reference(self, rest: str) -> None:
        start = self.position
        end = self.pattern.find(")", start)
        if end < 0:
            raise self._fail("missing `)` to close the group")
        name = self.pattern[start + (3 if rest[0] == "&" else 4) : end]
        self.position = end + 1
        if rest == "P=":
            self._back_reference(name, start)
        else:
            self._call(name, start)

    def _condition(self) -> None:
        found = re.compile(r"\(\?\((?:([0-9]{1,5})|([+-][0-9]{1,5})|<(\w+)>|'(\w+)'|(\w+))\)").match(
            self.pattern, self.position
        )
        self.groups[-1].degree = _FOREVER
        if found is not None:
            name = found[1] or found[3] or found[4] or found[5]
            if found[2]:
                offset = int(found[2])
                name = str(self.captures + offset + (1 if offset < 0 else 0))
            self._begin(f"(?({name})", found.end() - self.position)
            return
        if re.compile(r"\(\?\(\?(?:[=!]|<[=!])").match(self.pattern, self.position) is None:
            raise self._fail("a condition wants a group or a look-around")
        self._begin("(?", 2)

    def _options(self) -> None:
        found = _FLAGS.match(self.pattern, self.position + 2)
        if found is None:
            raise self._fail("unknown kind of group after `(?`")
        on, off = found[1], found[2] or ""
        if "J" in on + off or "X" in off:
            raise self._fail("the option `J` is not supported")
        width = found.end() - self.position
        kept_on, kept_off = "".join(c for c in on if c in "ims"), "".join(c for c in off if c in "ims")
        flags = kept_on + ("-" + kept_off if kept_off else "")
        if found[3] == ":":
            self._begin(f"(?{flags}:", width)
        else:
            if flags:
                self._emit(f"(?{flags})")
            self.position += width
            self.atom = None
        group = self.groups[-1]
        group.extended = "x" not in off and (group.extended or "x" in on)
        group.ungreedy = "U" not in off and (group.ungreedy or "U" in on)

    def _close(self) -> None:
        if len(self.groups) == 1:
            raise self._fail("unmatched `)`")
        group = self.groups.pop()
        self._emit(")")
        self.position += 1
        outer = self.groups[-1]
        outer.degree += group.degree
        outer.factor *= group.factor
        outer.varies = outer.varies or group.varies
        self.atom = _Atom(group.first_piece, group)

    # ---- quantifiers -----------------------------------------------------------------------------

    def _quantifier(self) -> None:
        pattern, start = self.pattern, self.position
        found = _QUANTIFIER.match(pattern, start)
        assert found is not None
        if self.atom is None:
            raise self._fail(f"nothing to repeat before `{found[0]}`")
        least, most = _bounds(found)
        if least > most:
            raise self._fail(f"the numbers in `{found[0]}` are out of order")
        if (least if most == _FOREVER else most) > MOST_REPEATS:
            raise self._fail(f"the number in `{found[0]}` is too large")
        self.position = found.end()
        suffix = pattern[self.position : self.position + 1]
        group = self.groups[-1]
        if suffix == "+":
            self.position += 1
        elif suffix == "?":
            self.position += 1
            suffix = "" if group.ungreedy else "?"
        else:
            suffix = "?" if group.ungreedy else ""
        atom = self.atom
        if atom.quantified:  # a second quantifier repeats the whole of the first
            self.pieces[atom.piece] = "(?:" + self.pieces[atom.piece]
            self._emit(")", start)
        self._emit(found[0] + suffix, start)
        inner = atom.group
        if inner is not None and inner.varies and most > 1:
            group.degree = _FOREVER
        elif most == _FOREVER:
            group.degree += 1
            group.factor *= max(1, least)
        else:
            group.factor *= max(1, most - least + 1, least)
        group.varies = group.varies or least != most
        self.atom = _Atom(atom.piece, _Group(start, atom.piece, False, False, varies=True), quantified=True)


def _bounds(found: re.Match[str]) -> tuple[float, float]:
    if found[0] in "*+?":
        return {"*": (0, _FOREVER), "+": (1, _FOREVER), "?": (0, 1)}[found[0]]
    least = int(found[1][:12])
    if found[2] is None:
        return least, least
    return least, int(found[3][:12]) if found[3] else _FOREVER


def literal(character: str) -> str:
    """Give one character as it stands for itself in any place of a pattern."""
    if character.isascii() and character.isalnum():
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def translate(pattern: str, modifiers: str) -> Translation:
    """Translate a pattern. `modifiers` are among i, m, s, u, x, U, X. Raises PatternError."""
    if len(pattern) > MOST_CHARACTERS:
        raise PatternError(f"a pattern has at most {MOST_CHARACTERS} characters, this one {len(pattern)}", 0)
    work = _Translator(pattern, "u" in modifiers, "x" in modifiers, "U" in modifiers, "X" in modifiers)
    cost = work.translate()
    starts: list[int] = []
    length = 0
    for piece in work.pieces:
        starts.append(length)
        length += len(piece)
    anchored = bool(work.pieces) and work.pieces[0] in ("^", "\\A") and "|" not in work.pieces and "m" not in modifiers
    return Translation(
        "".join(work.pieces),
        "".join(flag for flag in modifiers if flag in "ims"),
        work.utf8,
        cost.degree + (0 if anchored else 1),
        cost.factor,
        tuple(starts),
        tuple(work.origins),
    )
