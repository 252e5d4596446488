"""The first stage: a source's text becomes a `Script`. In: `Source`. Out: `Script | None`, and what is wrong with it.

The syntax itself stands in `grammar/hsl.lark`; this file drives Lark over it and goes on after an error.
Knows nothing of what names mean.
"""

from __future__ import annotations

import re
import threading
from importlib import resources
from pathlib import Path
from typing import Any

from lark import Lark, Token, Tree, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from hslpy.lang.build import build
from hslpy.lang.diagnostics import MOST_DIAGNOSTICS, Diagnostic
from hslpy.lang.mistakes import Insertion, Mistake, Trail, Word, unexpected_text, unexpected_word
from hslpy.lang.source import Source
from hslpy.lang.syntax import Script

MOST_SYNTAX_ERRORS = 10  # in one file: what comes after so many is mostly a consequence of them
_MOST_ATTEMPTS = 4 * MOST_SYNTAX_ERRORS  # errors met in one file, told or not: each costs a millisecond
_SETTLED = 1  # words read since the last error before a new one is believed to be a fault of its own

# What is stepped over, whole, when looking for the next statement after an error.
_STEP = re.compile(
    r'"[^"\\]*(?:\\.[^"\\]*)*"'
    r"|'(?P<tag>[\x21-\x26\x28-\x7e]*)'.*?'(?P=tag)'"
    r"|//[^\n]*|/\*.*?\*/|#/(?:[^/\\\n]|\\[^\n])+/"
    r"|(?P<stop>[;{}])"
    r"|(?<![$\w>:])(?P<word>break|class|continue|echo|for|foreach|forever|function|if|import|include|return|switch|try|while)\b"
    r"|\w+|.",
    re.DOTALL | re.ASCII,
)

_lark: Lark | None = None
_lark_lock = threading.Lock()


def parse(source: Source) -> tuple[Script | None, list[Diagnostic]]:
    """Give the script, or None and the errors in source order, MOST_DIAGNOSTICS at most."""
    tree, found = _Reader(source).read()
    script = None
    if tree is not None and not found:
        script, found = build(tree, source)
    found.sort(key=lambda diagnostic: (diagnostic.span.start, diagnostic.span.end))
    return (None if found else script), found[:MOST_DIAGNOSTICS]


def grammar_text() -> str:
    """Give the grammar: the checkout's, or else the copy packed into the wheel."""
    checkout = Path(__file__).resolve().parents[2] / "grammar" / "hsl.lark"
    if checkout.is_file():
        return checkout.read_text("utf-8")
    return resources.files("hslpy").joinpath("_data", "grammar", "hsl.lark").read_text("utf-8")


def _parser() -> Lark:
    """Give the process's one parser; making it takes about a tenth of a second, so only when there is something to parse."""
    global _lark
    with _lark_lock:
        if _lark is None:
            _lark = Lark(
                grammar_text(),
                parser="lalr",
                lexer="contextual",
                start="script",
                propagate_positions=True,
                maybe_placeholders=True,
                g_regex_flags=re.ASCII,
            )
        return _lark


class _Reader:
    """One reading of one source. `trail` follows what has been read, for the wording of errors."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.found: list[Diagnostic] = []
        self.trail = Trail(source)
        self.interactive = _parser().parse_interactive(source.text)
        self.state: Any = self.interactive.parser_state
        self.lexer: Any = self.interactive.lexer_thread
        self.settled = _SETTLED

    def read(self) -> tuple[Tree[Token] | None, list[Diagnostic]]:
        """Give the tree; None after a mistake that could not be mended."""
        waiting: Token | None = None  # a word the parser refused, to be offered again
        inserted: list[tuple[int, str]] = []
        for _ in range(_MOST_ATTEMPTS):
            if len(self.found) >= MOST_SYNTAX_ERRORS:
                break
            try:
                if waiting is not None:
                    token, waiting = waiting, None
                    self.feed(token)
                for token in self.lexer.lex(self.state):
                    self.feed(token)
                tree = self.state.feed_token(Token("$END", ""), True)
                return (None if self.found else tree), self.found
            except UnexpectedInput as error:
                mistake, refused = self.mistake(error)
                if self.settled >= _SETTLED or not self.found:
                    self.found.append(mistake.diagnostic)
                self.settled = 0
                fix = mistake.insertion
                if fix and refused is not None and (place := (self.start_of(refused), fix.kind)) not in inserted:
                    inserted.append(place)
                    if self.insert(fix):
                        waiting = refused if refused.type != "$END" else None
                        continue
                if mistake.fatal or not self.skip(refused):
                    break
        return None, self.found

    def start_of(self, token: Token) -> int:
        return len(self.source.text) if token.start_pos is None or token.type == "$END" else token.start_pos

    def feed(self, token: Token) -> None:
        self.state.feed_token(token)
        assert token.start_pos is not None and token.end_pos is not None
        self.trail.add(Word(token.type, str(token), token.start_pos, token.end_pos), len(self.state.state_stack))
        self.settled += 1

    def mistake(self, error: UnexpectedInput) -> tuple[Mistake, Token | None]:
        """Word an error; beside it the word that was refused, if it was one."""
        wanted = self.wanted()
        if isinstance(error, UnexpectedToken):
            token = error.token
            start = self.start_of(token)
            word = Word(token.type, str(token), start, start + len(token))
            return unexpected_word(self.trail, word, wanted), token
        assert isinstance(error, UnexpectedCharacters) and error.pos_in_stream is not None
        return unexpected_text(self.trail, error.pos_in_stream), None

    def wanted(self) -> frozenset[str]:
        """Give the kinds of the words that could stand here."""
        return frozenset(self.interactive.accepts())  # type: ignore[no-untyped-call]

    def insert(self, fix: Insertion) -> bool:
        """Read a missing `;` or bracket as if it were there."""
        if fix.kind not in self.wanted():
            return False
        at = self.trail.end
        self.state.feed_token(Token(fix.kind, fix.text, start_pos=at, end_pos=at))
        self.trail.add(Word(fix.kind, fix.text, at, at), len(self.state.state_stack))
        return True

    # ---- going on after an error ------------------------------------------------------------------

    def skip(self, refused: Token | None) -> bool:
        """Leave the statement that went wrong; False when the text ends first."""
        stack: list[int] = self.state.state_stack
        table: Any = self.state.parse_conf.states
        while len(stack) > 1 and not _starts_statements(table[stack[-1]]):
            stack.pop()
            self.state.value_stack.pop()
        self.trail.close_beyond(len(stack))
        position = self.lexer.state.line_ctr
        at = position.char_pos if refused is None else self.start_of(refused)
        end, text, begin = at, self.source.text, at
        depth = 0
        while end < len(text):
            match = _STEP.match(text, end)
            assert match is not None
            stop = match["stop"]
            if depth == 0 and (
                (stop == "}" and self.trail.open) or (match["word"] and end > begin and self.first_in_line(end))
            ):
                break
            end = match.end()
            if stop == "{":
                depth += 1
            elif stop == "}":
                depth = max(depth - 1, 0)
            if stop and stop != "{" and depth == 0:
                break
        # The lexer may stand behind the refused word already; it is set to where the next statement begins.
        position.char_pos = end
        self.lexer.state.last_token = None
        return end < len(text)

    def first_in_line(self, at: int) -> bool:
        text = self.source.text
        return not text[text.rfind("\n", 0, at) + 1 : at].strip(" \t")


def _starts_statements(actions: dict[str, Any]) -> bool:
    """Say whether a parser state stands between two statements, or two members of a class."""
    return ("RBRACE" in actions or "$END" in actions) and ("_ECHO" in actions or "CONSTRUCTOR" in actions)
