"""The language for editors: a TextMate grammar, and a Visual Studio Code extension around it, made from the tables.

In: the grammar's words, the builtins, the hooks' variables. Out: JSON documents. Must not know files or output.
TextMate grammars colour by regexes, so what a word means in its place is the checker's to say, not the editor's.
Source: the TextMate 2 manual, "Language Grammars"; the scope names are those its themes know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from hslpy.builtins import ALL
from hslpy.hooks.table import HOOKS
from hslpy.lang.exceptions import TOPIC as EXCEPTIONS
from hslpy.lang.parse import grammar_text

Grammar = dict[str, Any]
SCOPE = "source.hsl"
SUFFIX = ".hsl"

# Words with a colour of their own; every other word of the grammar is a keyword.
_CONSTANTS = {"true", "false", "none"}
_WORD_OPERATORS = {"and", "or", "not"}
_STORAGE = {"function", "class", "closure", "constructor", "private", "static", "readonly", "global", "array", "object"}
_TERMINAL = re.compile(r"^_?[A-Z_]+(?:\.-?\d+)?: /(.+)/[a-z]*$", re.MULTILINE)
_WORD = re.compile(r"(?<![\w\\])([a-z_]{2,})(?=\\b|\(\?=|\||\)\\b)")


def words() -> list[str]:
    """Give the words of the language, in the grammar's own spelling: every terminal that stands for words alone."""
    found: set[str] = set()
    for pattern in _TERMINAL.findall(grammar_text()):
        if re.match(r"(?:!\||\(\?:)?[a-z_]{2,}(?:\\b|\(\?=|\|)", pattern):
            found.update(_WORD.findall(pattern))
    return sorted(found)


def textmate_grammar() -> Grammar:
    """Give the TextMate grammar as a JSON document, with today's builtins and predefined variables."""
    rows = [*ALL, *EXCEPTIONS.rows]
    functions = {row.name for row in rows if row.owner is None and row.kind == "function"}
    classes = {row.name for row in rows if row.kind == "class"} | {row.owner for row in rows if row.owner}
    predefined = {fact.name for hook in HOOKS for fact in hook.facts} | {"this"}
    every_word = set(words())
    keywords = every_word - _CONSTANTS - _WORD_OPERATORS - _STORAGE
    return {
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "HSL",
        "scopeName": SCOPE,
        "fileTypes": [SUFFIX.lstrip(".")],
        "patterns": [{"include": "#code"}],
        "repository": {
            "code": {
                "patterns": [
                    _begin_end("comment.block.hsl", r"/\*", r"\*/"),
                    _match("comment.line.double-slash.hsl", r"//.*$"),
                    _begin_end(
                        "string.regexp.hsl", r"#/", r"(/)([imsuxUX]*)", [_match("constant.character.escape.hsl", r"\\.")]
                    ),
                    # A raw string's end repeats its tag.
                    _begin_end("string.quoted.other.raw.hsl", r"'([\x21-\x26\x28-\x7e]*)'", r"'\1'"),
                    _begin_end("string.quoted.double.hsl", '"', '"', [{"include": "#in_string"}]),
                    _match("constant.numeric.hsl", r"\b(?:0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+|\d[\d_]*(?:\.\d[\d_]*)?)"),
                    _match("variable.other.property.hsl", r"(?<=->)[A-Za-z_]\w*\b(?!\s*\()"),
                    _match("entity.name.function.member.hsl", r"(?<=->|::)[A-Za-z_]\w*(?=\s*\()"),
                    {
                        "match": r"\b(function|class)\s+([A-Za-z_]\w*)",
                        "captures": {"1": {"name": "storage.type.hsl"}, "2": {"name": "entity.name.hsl"}},
                    },
                    _match("variable.language.hsl", rf"\$(?:{_any(predefined)})\b"),
                    _match("variable.other.hsl", r"\$[A-Za-z_]\w*"),
                    _match("constant.language.hsl", rf"\b(?:{_any(_CONSTANTS & every_word)})\b"),
                    _match("keyword.operator.word.hsl", rf"\b(?:{_any(_WORD_OPERATORS & every_word)})\b"),
                    _match("storage.modifier.hsl", rf"\b(?:{_any(_STORAGE & every_word)})\b"),
                    _match("keyword.control.hsl", rf"\b(?:{_any(keywords)})\b"),
                    _match("support.class.hsl", rf"\b(?:{_any(classes)})\b(?=\s*(?:\(|::))"),
                    _match("support.function.hsl", rf"\b(?:{_any(functions)})\b(?=\s*\()"),
                    _match("entity.name.function.call.hsl", r"\b[A-Za-z_]\w*(?=\s*\()"),
                    _match("keyword.operator.hsl", r"\?\?|=>|->|::|=~|!~|[-+*/%.=!<>&|^~?:]+"),
                ]
            },
            "in_string": {
                "patterns": [
                    _match("constant.character.escape.hsl", r"\\(?:x[0-9a-fA-F]{2}|.)"),
                    _match("variable.other.interpolated.hsl", r"\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\})"),
                ]
            },
        },
    }


def extension(version: str) -> dict[str, Grammar]:
    """Give the files of a Visual Studio Code extension, by path: its manifest, brackets and comments, the grammar."""
    return {
        "package.json": {
            "name": "hsl",
            "displayName": "HSL",
            "description": "Colours for HSL, the Halon scripting language",
            "version": version,
            "publisher": "hslpy",
            "engines": {"vscode": "^1.60.0"},
            "categories": ["Programming Languages"],
            "contributes": {
                "languages": [
                    {
                        "id": "hsl",
                        "aliases": ["HSL"],
                        "extensions": [SUFFIX],
                        "configuration": "./language-configuration.json",
                    }
                ],
                "grammars": [{"language": "hsl", "scopeName": SCOPE, "path": "./syntaxes/hsl.tmLanguage.json"}],
            },
        },
        "language-configuration.json": {
            "comments": {"lineComment": "//", "blockComment": ["/*", "*/"]},
            "brackets": [["{", "}"], ["[", "]"], ["(", ")"]],
            "autoClosingPairs": [["{", "}"], ["[", "]"], ["(", ")"], ['"', '"']],
            "wordPattern": r"\$?[A-Za-z_]\w*",
        },
        "syntaxes/hsl.tmLanguage.json": textmate_grammar(),
    }


def _any(names: Iterable[str | None]) -> str:
    """Give an alternation; longer names first, for a shorter one may begin them."""
    return "|".join(sorted((re.escape(name) for name in names if name), key=lambda name: (-len(name), name)))


def _match(scope: str, pattern: str) -> Grammar:
    return {"name": scope, "match": pattern}


def _begin_end(scope: str, begin: str, end: str, patterns: list[Grammar] | None = None) -> Grammar:
    return {"name": scope, "begin": begin, "end": end, "patterns": patterns or []}
