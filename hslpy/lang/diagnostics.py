"""Diagnostics as data, the table of their codes, and the one place that turns them into text.

In: spans and messages from parse, resolve, check and run. Out: `Diagnostic`, `CODES`, `render`.
E1xx syntax, E2xx names and calls, E3xx classes and modules, E4xx not supported here; W5xx warnings;
R1xx run-time errors of operators and builtins, R2xx limits, R3xx hooks and services.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from contextlib import suppress

from hslpy.errors import ScriptError
from hslpy.lang.source import Span
from hslpy.late import difflib
from hslpy.records import dataclass

MOST_DIAGNOSTICS = 50  # gathered for one program; beyond that a reader is not helped


@dataclass(frozen=True, slots=True)
class Code:
    """A row of the table: what the code stands for, and what cures it."""

    code: str
    title: str
    cure: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. `code` is a row of CODES; its first letter gives the severity."""

    code: str
    span: Span
    message: str
    hint: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_error(self) -> bool:
        return not self.code.startswith("W")


_ROWS: list[Code] = [
    # E1xx syntax
    Code("E101", "missing `;`", "end each statement with `;`; only the last one before a `}` may go without"),
    Code("E102", "missing closing bracket", "add the bracket where the message says"),
    Code("E103", "unexpected word", "the message says what can stand there"),
    Code("E104", "bracket that closes nothing", "delete it, or open it where it should begin"),
    Code("E105", "string not closed", 'add the closing `"`; a `"` inside is written `\\"`'),
    Code(
        "E106",
        "raw string not closed, or a string in single quotes",
        "raw strings are `''...''`; all others are in double quotes",
    ),
    Code("E107", "comment not closed", "add `*/`"),
    Code("E108", "malformed regex literal", "a regex is `#/pattern/modifiers` on one line"),
    Code("E109", "unexpected character", "delete it; letters beyond ASCII belong in strings and comments"),
    Code("E110", "word that HSL keeps", "choose another name"),
    Code("E111", "word of the language used as a name", "choose another name"),
    Code("E112", "word or operator of another language", "the hint says how HSL writes it"),
    Code("E113", "`#` is no comment", "write `//` or `/* */`"),
    Code("E114", "`[]` read", "`$list[]` can only be assigned to"),
    Code("E115", "assignment to what is no variable", "assign to a variable or a part of one"),
    Code("E116", "malformed destructuring", "list places by position or by key, `...$rest` last"),
    Code("E117", "`isset` or `unset` of what is no variable", "name a variable or a part of one"),
    Code("E118", "`cache` without a call", "write `cache [options] function(arguments)`"),
    Code("E119", "misplaced variadic parameter", "move `...$name` to the end"),
    Code("E120", "malformed number", "numbers are `12`, `1.5`, `0xff`, `0o17` or `0b101`, with `_` between digits"),
    Code("E121", "path with variables", "write the path out"),
    Code("E122", "second `default`", "keep one"),
    Code("E123", "malformed `match`", "write `match (value) { candidate => result, default => result }`"),
    Code("E124", "nested too deep", "name a part of it as a variable or a function"),
    # E2xx names and calls (back end)
    Code("E201", "function or class defined twice", "rename one of them, or delete it"),
    Code("E202", "parameter named twice", "rename one of them"),
    Code("E203", "wrong number of arguments", "give as many as the function takes; `...$array` gives an array's values"),
    Code("E204", "unknown function", "check the spelling, define the function, or import it"),
    Code("E205", "assignment to a predefined variable", "copy it to a variable of your own"),
    Code("E206", "no place that can be assigned", "assign to a variable, an element or a property"),
    Code("E207", "function of another hook", "call it at the hook that has it"),
    Code("E208", "unknown class or namespace", "check the spelling, define the class, or import it"),
    Code("E209", "`global` of a name that is local already", "put `global` before the first use of the name"),
    Code("E210", "not a constant", "write a literal, or assign the value in the body"),
    Code("E212", "import of what the module has not", "check the spelling, or define it in the module"),
    Code("E213", "files that include or import each other in a circle", "move what both need to a third file"),
    Code("E214", "file not found", "check the path; it is looked up beside the script and in the library folders"),
    Code("E215", "two meanings for one name", "import it `as` another name"),
    Code("E216", "import within a function", "move it to the top level of the file"),
    Code("E217", "`yield` outside of a function", "move it to a function, and go over what the function's call gives"),
    Code("E219", "a regular expression that does not compile", "patterns are Perl-compatible; escape literal characters"),
    # E3xx classes and modules (back end)
    Code("E301", "two members of one name", "rename one of them"),
    Code("E302", "private member used from outside", "add a method for it, or make it public"),
    Code("E303", "unknown static member", "check the spelling, or declare it `static`"),
    Code("E304", "`static::` outside of a class", "name the class instead"),
    Code("E305", "`$this` outside of a method", "pass the object as a parameter, or capture it with `closure ($this)`"),
    # E4xx parsed but not supported here
    Code("E403", "data that cannot be imported", "the message names the place in the file, or the kinds there are"),
    Code("E404", "a `cache` that cannot be", "read the language's page for the options of `cache`"),
    Code("E405", "`yield` within a `barrier`", "leave the barrier first: others would wait for whoever asks the generator"),
    Code("E407", "loops, `switch` and `try` nested too deep", "move the inner ones to a function"),
    Code("E408", "function or class that is not provided here", "the message says why; do without it, or write your own"),
    # W5xx warnings
    Code(
        "W501", "variable that nothing assigns", "assign it first; functions see outer variables after `global` or `closure`"
    ),
    Code("W502", "`break` or `continue` outside of a loop", "write `return` to end the function"),
    Code("W503", "statements before the first `case`", "move them ahead of the `switch`"),
    Code("W504", "unknown escape in a string", "write two backslashes for a backslash"),
    Code("W505", "string added with `+`", "put texts together with `.`, convert with `number()`"),
    Code("W506", "a variable of the script's with a predefined name of the classic form", "choose another name"),
    Code("W507", "an assignment where a condition stands", "compare with `==`"),
    Code("W508", "what is built in, imported from a module that is not known", "drop the import, or name the module right"),
    # R1xx run time: operators and builtins
    Code("R101", "a builtin's argument of the wrong type", "convert it, or test the type first"),
    Code("R102", "wrong number of arguments", "give as many as the function takes"),
    Code("R103", "a call of what is no function", "test with `is_function` first"),
    Code("R105", "a number too large for the operation", "test the range first"),
    Code("R106", "a variable without value", "assign it first, or test it with `isset`"),
    Code("R107", "an exception that nothing caught", "catch it with `try { } catch ($error) { }`"),
    Code("R110", "a private or readonly member", "use the methods of the class"),
    Code("R111", "iteration or spreading of what is no array", "test with `is_array` first"),
    Code("R112", "a write to an element of what has none", "assign an array first"),
    Code("R113", "an unknown method", "check the spelling"),
    Code("R114", "a `match` in which nothing equals the value", "add a `default` arm, or catch the exception"),
    Code("R115", "a generator that asks itself for its next value", "ask it from outside of the generator"),
    Code("R108", "an argument out of range", "read the reference of the function for what it takes"),
    Code("R116", "a barrier entered by who is in it", "leave it first, or give the inner one another name"),
    Code("R121", "none where text is wanted", "give a default with `??`, or test with `isset` first"),
    Code("R122", "operand of the wrong type", "convert with `number()` or `string()`, or test the type first"),
    Code("R123", "division or modulus by zero", "test the divisor first"),
    Code("R124", "values that have no order", "compare numbers with numbers and strings with strings"),
    Code(
        "R125",
        "a key or an element that cannot be",
        "keys are strings, numbers or booleans; only arrays and strings have elements",
    ),
    Code("R126", "a slice that cannot be", "bounds are numbers, the step is not zero, and arrays and strings are sliced"),
    Code(
        "R127",
        "a format that cannot be filled",
        "match each placeholder with a value: `%s` text, `%f` `%x` `%b` `%c` numbers",
    ),
    Code("R129", "a regular expression that does not compile", "patterns are Perl-compatible; escape literal characters"),
    # R2xx run time: limits
    Code("R201", "too many steps", "end the loop, or raise the limit `steps`"),
    Code("R202", "calls nested too deep", "end the recursion, or raise the limit `depth`"),
    Code("R203", "too much CPU time", "do less, or raise the limit `cpu_s`"),
    Code("R204", "too long a run", "do less, or raise the limit `wall_s`"),
    Code("R205", "too much memory", "keep less, or raise the limit `memory_bytes`"),
    Code("R206", "a regular expression that takes too long", "avoid repeats inside repeats, such as `(a+)+`"),
    Code("R207", "a string that is too long", "work on parts of it, or raise the limit `string_bytes`"),
    # R3xx run time: hooks and services
    Code("R301", "an option that does not exist", "read the function's reference for the options it takes"),
    Code("R302", "an option or argument that a hook function cannot use", "read the function's reference for what it wants"),
    Code("R303", "a text that is no mail address", "give `local@domain`, or an array with `localpart` and `domain`"),
    Code("R304", "a reply code that does not fit the verdict", "Reject wants 5xx, Defer 4xx, Accept 2xx"),
    Code("R305", "a verdict on a message that is already delivered", 'ask first whether `$arguments["action"]` is set'),
    Code("R306", "a source that is not configured", "name a configured source, as in `netaddr:1`"),
    Code("R307", "a scanner that is not configured", "set it in the `[scanners]` part of the configuration"),
    Code("R308", "a header field that cannot be", "names have letters, digits and `-`; values have an end"),
    Code("R309", "a key or value that `memory_*` cannot use", "store numbers, strings, booleans and arrays of them"),
    Code("R310", "more of something than one message takes", "look for a loop without end"),
    Code("R311", "mail of a script's own that is not queued", "look for a loop without end; look at the spool's disk"),
    Code(
        "R330",
        "a socket or its TLS that cannot be had",
        "close what is open; look at the settings of [[pki]] and `client.ca_file`",
    ),
    Code("R341", "outgoing users that cannot be asked for", "let the error rise: at AUTH the client is told to try later"),
    Code("R340", "a Redis server that refuses, or does not answer", "catch it with `try { } catch ($error) { }`"),
    Code("R320", "an expectation of a script test that does not hold", "put the script right, or the expectation"),
    Code("R321", "a function of script tests used wrongly", "read the function's reference for what it wants"),
]
CODES: dict[str, Code] = {row.code: row for row in _ROWS}


def suggest(name: str, known: Iterable[str]) -> str | None:
    """Give the hint "did you mean `x`?" for the known name nearest to `name`, or None."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.7) or [n for n in names if n.lower() == name.lower()][:1]
    return f"did you mean `{near[0]}`?" if near else None


# ---- as text --------------------------------------------------------------------------------------

_TAB = 4  # columns a tab is drawn as
_INNERMOST, _OUTERMOST = 6, 3  # calls shown of a stack deeper than both
_WIDEST = 160  # columns of a source line drawn; a longer one is cut around the place


def render_all(findings: Iterable[Diagnostic | ScriptError]) -> str:
    """Give the findings in their order, parted by empty lines."""
    return "\n\n".join(render(finding) for finding in findings)


def render(finding: Diagnostic | ScriptError) -> str:
    """Give one finding as text, without a line end: what and where, the source line with carets, hint and notes.

    Only the first line of a place that spans several is drawn. The column counts bytes from 1; what is drawn is
    UTF-8 where the script is, tabs are drawn as spaces.
    """
    severity = "warning" if finding.code.startswith("W") else "error"
    lines = [f"{severity}[{finding.code}]: {_readable(finding.message)}"]
    margin = ""
    span = finding.span
    if isinstance(span, Span):
        number, column = span.source.position(span.start)
        margin = " " * len(str(number))
        drawn, carets = _draw(span.source.line(number), column - 1, span.end - span.start)
        lines += [
            f"{margin}--> {_readable(span.source.path)}:{number}:{column}",
            f"{margin} |",
            f"{number} | {drawn}".rstrip(),
            f"{margin} | {carets}",
        ]
    if finding.hint:
        lines.append(f"{margin} = hint: {_readable(finding.hint)}")
    if isinstance(finding, ScriptError):
        lines += [f"{margin} = {_readable(line)}" for line in _stack(finding.stack)]
    lines += [f"{margin} = {_readable(note)}" for note in finding.notes]
    return "\n".join(lines)


def _stack(places: tuple[object, ...]) -> list[str]:
    """Give the call stack, innermost first, the middle of a deep one left out."""
    lines = [f"called from {place}" for place in places]
    left_out = len(lines) - _INNERMOST - _OUTERMOST
    if left_out <= 1:
        return lines
    return [*lines[:_INNERMOST], f"... {left_out} more calls", *lines[-_OUTERMOST:]]


def _draw(line: str, start: int, length: int) -> tuple[str, str]:
    """Give a source line as it is drawn, and its carets: at least one, none beyond the line's end."""
    start = min(start, len(line))
    end = min(start + length, len(line))
    before = _printable(line[:start])
    marked = _printable(line[start:end], _columns(before))
    after = _printable(line[end:], _columns(before) + _columns(marked))
    pad, width = _columns(before), max(_columns(marked), 1)
    if pad + width + _columns(after) > _WIDEST:
        if pad > _WIDEST // 2:
            before = "..." + before[-(_WIDEST // 2 - 3) :]
            pad = _columns(before)
        if len(marked) > _WIDEST // 2:
            marked, after = marked[: _WIDEST // 2] + "...", ""
            width = _columns(marked)
        if len(after) > (room := max(_WIDEST - pad - width, 0)):
            after = after[:room] + "..."
    return before + marked + after, " " * pad + "^" * width


def _printable(piece: str, column: int = 0) -> str:
    """Give bytes of a script as they are drawn from `column` on: tabs widened, what cannot be shown as U+FFFD."""
    drawn: list[str] = []
    for letter in piece.encode("latin-1", "replace").decode("utf-8", "replace"):
        if letter == "\t":
            letter = " " * (_TAB - column % _TAB)
        elif not letter.isprintable():
            letter = "\ufffd"
        drawn.append(letter)
        column += _columns(letter)
    return "".join(drawn)


def _columns(text: str) -> int:
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) != 0 for letter in text)


def _readable(text: str) -> str:
    """Give a message as text, in which names and strings of the script may stand as latin-1 bytes."""
    with suppress(UnicodeError):  # a message may hold other letters, too
        text = text.encode("latin-1").decode("utf-8")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
