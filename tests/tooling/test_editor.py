"""The grammar for editors: a small TextMate reader says which scope each piece of a line gets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import regex

from hslpy.lang.parse import grammar_text
from hslpy.tooling.editor import extension, textmate_grammar, words
from tests.cli.conftest import Hslpy
from tests.cli.conftest import hslpy as hslpy_command

hslpy = hslpy_command
GRAMMAR = textmate_grammar()


def flat(patterns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the rules of a list, what it includes put in its place."""
    out = []
    for rule in patterns:
        out += flat(GRAMMAR["repository"][rule["include"][1:]]["patterns"]) if "include" in rule else [rule]
    return out


def scopes(text: str) -> dict[str, str]:
    """Give the innermost scope of each piece of a text, as an editor's engine finds it: the first match wins."""
    found: dict[str, str] = {}
    at, start, inside, end = 0, 0, None, None
    while at < len(text):
        rules = flat(inside["patterns"] if inside else GRAMMAR["patterns"])
        matches = [(m.start(), i, m, rule) for i, rule in enumerate(rules) if (m := _search(rule, text, at))]
        if inside and (m := regex.compile(end, regex.MULTILINE).search(text, at)):
            matches.append((m.start(), -1, m, None))
        if not matches:
            break
        _, _, match, rule = min(matches, key=lambda one: one[:2])
        if rule is None:
            found[text[start : match.end()]] = inside["name"]
            inside = None
        elif "begin" in rule:
            inside, start = rule, match.start()
            end = re.sub(r"\\1", lambda _, tag=match: regex.escape(tag[1]), rule["end"])
        else:
            found[match[0]] = rule.get("name", "")
            for number, capture in rule.get("captures", {}).items():
                found[match[int(number)]] = capture["name"]
        at = max(match.end(), at + (match.end() == at))
    return {piece: scope.removesuffix(".hsl") for piece, scope in found.items()}


def _search(rule: dict[str, Any], text: str, at: int) -> Any:
    return regex.compile(rule.get("match") or rule["begin"], regex.MULTILINE).search(text, at)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("// a\n/* b */", {"// a": "comment.line.double-slash", "/* b */": "comment.block"}),
        (
            """$x = ''a "b'' . 'T'c''d'T';""",
            {"''a \"b''": "string.quoted.other.raw", "'T'c''d'T'": "string.quoted.other.raw"},
        ),
        (r'"a\n${x} $y"', {r"\n": "constant.character.escape", "${x}": "variable.other.interpolated"}),
        (r"#/a\/b/i", {r"#/a\/b/i": "string.regexp", r"\/": "constant.character.escape"}),
        ("foreach ($a as $b) echo not none;", {"foreach": "keyword.control", "not": "keyword.operator.word"}),
        ("$senderdomain . $mine", {"$senderdomain": "variable.language", "$mine": "variable.other"}),
        ('str_find("a")', {"str_find": "support.function"}),
        ("mine(1)", {"mine": "entity.name.function.call"}),
        ("MIME()->addHeader($p->size)", {"MIME": "support.class", "addHeader": "entity.name.function.member"}),
        ("$p->size", {"size": "variable.other.property"}),
        ("$p->match($q)", {"match": "entity.name.function.member"}),
        (
            "class Mine { private function m() {} }",
            {"Mine": "entity.name", "private": "storage.modifier", "m": "entity.name"},
        ),
        ("0x1f + 1.5", {"0x1f": "constant.numeric", "1.5": "constant.numeric", "+": "keyword.operator"}),
    ],
)
def test_each_piece_has_its_scope(text: str, wanted: dict[str, str]) -> None:
    found = scopes(text)
    assert {piece: found.get(piece) for piece in wanted} == wanted


def test_the_words_are_the_grammars() -> None:
    reserved = re.search(r"NAME: /\(\?!\(\?:([a-z_|]+)\)", grammar_text())
    assert reserved is not None
    assert set(reserved[1].split("|")) <= set(words())
    assert {"match", "from", "as", "builtin", "private"} <= set(words())


def test_the_command_writes_an_extension(hslpy: Hslpy, tmp_path: Path) -> None:
    done = hslpy("export", "editor", tmp_path / "hsl")
    assert done.status == 0
    manifest = json.loads((tmp_path / "hsl" / "package.json").read_text())
    for one in (*manifest["contributes"]["grammars"], *manifest["contributes"]["languages"]):
        assert (tmp_path / "hsl" / (one.get("path") or one["configuration"])).exists()
    printed = hslpy("export", "editor")
    assert json.loads(printed.out) == extension("1")["syntaxes/hsl.tmLanguage.json"]


def test_a_folder_that_cannot_be_written_is_an_error(hslpy: Hslpy, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = hslpy("export", "editor", tmp_path / "file")
    assert done.status == 2
    assert "cannot be written" in done.err
