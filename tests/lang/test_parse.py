"""The front end: what parses, to which nodes, and how what doesn't parse is told."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hslpy.lang import parse as parse_module
from hslpy.lang import syntax as s
from hslpy.lang.diagnostics import CODES, render_all
from hslpy.lang.format import format_expr, format_script
from hslpy.lang.nesting import MOST_NESTING, children_of
from hslpy.lang.parse import MOST_SYNTAX_ERRORS, parse
from hslpy.lang.source import Source

HERE = Path(__file__).parent
PARTS = re.compile(r"^// ---\n", re.MULTILINE)
EXPECTED = re.compile(r"// error\[(E1\d\d)\]: (.*?)\s*$")


def source(text: str, path: str = "test.hsl") -> Source:
    return Source(path, text.encode().decode("latin-1"))


def script(text: str) -> s.Script:
    parsed, found = parse(source(text))
    assert parsed is not None, render_all(found)
    return parsed


def expr(text: str) -> s.Expr:
    (stmt,) = script(text + ";").body
    assert isinstance(stmt, s.ExprStmt)
    return stmt.value


def messages(text: str) -> list[str]:
    parsed, found = parse(source(text))
    assert (parsed is None) == bool(found)
    return [
        f"{diagnostic.code} {diagnostic.span.source.position(diagnostic.span.start)} {diagnostic.message}"
        for diagnostic in found
    ]


def written(node: s.Node) -> str:
    """Give the text a node was read from."""
    return node.span.source.text[node.span.start : node.span.end]


# ---- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", (HERE / "roundtrip.hsl").read_text().splitlines())
def test_line_formats_back_to_itself(line: str) -> None:
    assert format_script(script(line), None) == line


@pytest.mark.parametrize(
    "path", sorted(HERE.glob("cases/syntax*/*.hsl")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_case_parses_or_fails_as_it_says(path: Path) -> None:
    for part in PARTS.split(path.read_text()):
        expected = [(n, *found.groups()) for n, line in enumerate(part.splitlines(), 1) if (found := EXPECTED.search(line))]
        _, found_ = parse(source(part))
        got = [(d.span.source.position(d.span.start)[0], d.code, d.message) for d in found_]
        assert len(got) == len(expected), render_all(found_)
        for (line, code, text), (got_line, got_code, message) in zip(expected, got, strict=True):
            assert (got_line, got_code) == (line, code), render_all(found_)
            assert text in message


def rendered_errors() -> str:
    parts = PARTS.split((HERE / "golden" / "syntax_errors.hsl").read_text())
    return "\n\n----\n".join(render_all(parse(source(part))[1]) for part in parts) + "\n"


def test_errors_read_as_in_the_golden_file() -> None:
    """After a wanted change: `python tests/lang/test_parse.py` writes the file anew; read the difference."""
    assert rendered_errors() == (HERE / "golden" / "syntax_errors.txt").read_text()


def test_every_syntax_code_is_in_a_golden_or_a_case() -> None:
    text = "".join(path.read_text() for path in [HERE / "golden" / "syntax_errors.txt", *HERE.glob("cases/syntax*/*.hsl")])
    assert {code for code in CODES if code.startswith("E1")} - {"E124"} == set(re.findall(r"\[(E1\d\d)\]", text))


def test_no_text_of_lark_reaches_a_reader() -> None:
    assert not re.search(r"Token|Expected|LPAR|RSQB|_[A-Z]{3}|\$END|__ANON", rendered_errors())


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "// only\n",
        "/* a * b */",
        "\xef\xbb\xbfecho 1;".encode("latin-1").decode(),
        "#!/usr/bin/env hslpy run\necho 1;",
    ],
)
def test_scripts_with_little_in_them(text: str) -> None:
    parsed = script(text)
    assert (parsed.span.start, parsed.span.end) == (0, len(parsed.span.source.text))


# ---- nodes ----------------------------------------------------------------------------------------


def test_spans_cover_what_was_written() -> None:
    node = expr("$total = ($a + f(1, ...$b)) * -$c[0]")
    assert isinstance(node, s.Assign)
    assert written(node) == "$total = ($a + f(1, ...$b)) * -$c[0]"
    product = node.value
    assert isinstance(product, s.Binary)
    assert written(product) == "($a + f(1, ...$b)) * -$c[0]"
    assert product.span.source.text[product.op_span.start] == "*"
    assert isinstance(product.left, s.Binary)
    assert written(product.left) == "$a + f(1, ...$b)"
    call = product.left.right
    assert isinstance(call, s.Call)
    assert [written(argument) for argument in call.arguments] == ["1", "...$b"]


def test_every_node_lies_within_its_parent() -> None:
    def lies_within(node: s.Node, start: int, end: int) -> None:
        assert start <= node.span.start <= node.span.end <= end, written(node)
        for child in children_of(node):
            lies_within(child, node.span.start, node.span.end)

    for line in (HERE / "roundtrip.hsl").read_text().splitlines():
        for stmt in script(f"  {line}  ").body:
            lies_within(stmt, 2, len(line) + 2)


def test_interpolated_variables_have_their_own_places() -> None:
    node = expr('"å $name and ${other}!\\q"')
    assert isinstance(node, s.Interpolation)
    assert [written(part) for part in node.parts] == ["\xc3\xa5 ", "$name", " and ", "${other}", "!\\q"]
    last = node.parts[-1]
    assert isinstance(last, s.StringLit)
    assert last.value == "!\\q"
    assert [span.source.text[span.start : span.end] for span in last.bad_escapes] == ["\\q"]


def test_strings_are_bytes() -> None:
    node = expr('"å\\xc3"')
    assert isinstance(node, s.StringLit)
    assert node.value == "\xc3\xa5\xc3"


def test_else_ifs_are_flat_and_blocks_are_not() -> None:
    (stmt,) = script("if (1) { } else if (2) { } else { if (3) { } }").body
    assert isinstance(stmt, s.IfStmt)
    assert len(stmt.branches) == 2
    assert isinstance(stmt.otherwise, s.Block)


def test_an_else_belongs_to_the_nearest_if() -> None:
    (stmt,) = script("if (1) if (2) echo 1; else echo 2;").body
    assert isinstance(stmt, s.IfStmt)
    assert stmt.otherwise is None
    assert isinstance(inner := stmt.branches[0][1], s.IfStmt)
    assert inner.otherwise is not None


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("!$r = f() and $x", "!($r = f() and $x)"),
        ("$x and $e = $x->next()", "$x and ($e = $x->next())"),
        ("not $a == $b", "!$a == $b"),
        ("$a ? : $b", "$a ?: $b"),
        ("array(1, 'K'x'K' => 2,)", "[1, 'K'x'K' => 2]"),
        ("$a[: :2]", "$a[::2]"),
        ("cache [] f()[1]", "(cache [] f())[1]"),
        ("$x=-1", "$x = -1"),
        ("$x =~$y", "$x =~ $y"),
        ("$x = !~$y", "$x = !~$y"),
        ("$a - - 1", "$a - -1"),
        ("1 .2", "1 . 2"),
        ("1.2.3", "1.2 . 3"),
        ("this->x", "$this->x"),
        ("$a ? foo::b : c", "$a ? foo::b : c"),
        ("foo ( ... $a , )", "foo(...$a)"),
    ],
)
def test_readings(text: str, canonical: str) -> None:
    assert format_expr(expr(text)) == canonical


def test_cache_takes_the_first_call_of_a_chain() -> None:
    node = expr('cache [] $o->m(1)["x"]')
    assert isinstance(node, s.Index)
    assert isinstance(node.base, s.Cache)
    assert written(node.base) == "cache [] $o->m(1)"
    assert written(node) == 'cache [] $o->m(1)["x"]'


def test_the_old_form_of_a_function_has_no_parameters() -> None:
    (stmt,) = script("function f { return $argv }").body
    assert isinstance(stmt, s.FunctionStmt)
    assert stmt.function.params is None


def test_switch_keeps_what_stands_before_its_first_label() -> None:
    (stmt,) = script("switch ($x) { echo 1; case 1: case 2: echo 2; default: echo 3 }").body
    assert isinstance(stmt, s.SwitchStmt)
    assert [len(stmt.before), *[len(case.body) for case in stmt.cases]] == [1, 0, 1, 1]


def test_members_of_a_class() -> None:
    (stmt,) = script("class A { private static $a = 1; constructor() { }; readonly $b; static function f() { } ; }").body
    assert isinstance(stmt, s.ClassStmt)
    flags = [(m.name, m.is_private, m.is_static, m.is_readonly, m.function is not None) for m in stmt.members]
    assert flags == [
        ("a", True, True, False, False),
        ("constructor", False, False, False, True),
        ("b", False, False, True, False),
        ("f", False, True, False, True),
    ]


# ---- size and depth -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "echo " + " . ".join(f'"{n}"' for n in range(5000)) + ";",
        "if (0) { } " + "".join(f"else if ($x == {n}) {{ }} " for n in range(1000)),
        "echo " + "(" * 5000 + "1" + ")" * 5000 + ";",
        "echo " + "[" * 200 + "1" + "]" * 200 + ";",
        "echo " + "f(" * 200 + "1" + ")" * 200 + ";",
        'echo "' + "x" * 1_000_000 + '";',
    ],
    ids=["terms", "else-ifs", "brackets", "arrays", "calls", "string"],
)
def test_what_is_large_or_deep_parses(text: str) -> None:
    assert parse(source(format_script(script(text))))[0] is not None


@pytest.mark.parametrize(
    "text", ["echo " + "[" * 5000 + "]" * 5000 + ";", "!" * 5000 + "1;", "$a = " * 5000 + "1;", "{" * 5000 + "}" * 5000]
)
def test_what_is_too_deep_is_told(text: str) -> None:
    (message,) = messages(text)
    assert message.startswith("E124") and str(MOST_NESTING) in message


@pytest.mark.parametrize("text", ["(" * 5000, "[" * 5000, "{" * 5000, ")" * 5000, "$a $b; " * 5000, "@" * 5000, '"' * 4999])
def test_rubbish_ends_soon(text: str) -> None:
    assert 1 <= len(messages(text)) <= MOST_SYNTAX_ERRORS


# ---- errors ---------------------------------------------------------------------------------------


def test_an_unclosed_block_names_what_opened_it() -> None:
    assert messages("\n\n  foreach ($a as $b) {\n    echo 1;\n") == [
        "E102 (4, 12) missing `}` to close `foreach` opened at 3:3"
    ]


def test_reading_goes_on_after_an_error() -> None:
    found = messages("$a = ;\n$b = 1;\nfunction f() {\n  echo $a $b;\n  echo 2;\n}\n$c = [1;\necho $d $e;")
    assert [message[:11] for message in found] == ["E103 (1, 6)", "E103 (4, 11", "E102 (7, 8)", "E103 (8, 9)"]


def test_one_mistake_is_told_once() -> None:
    assert len(messages("if ($a && $b) {\n  echo 1;\n} else {\n  echo 2;\n}\necho 3;")) == 1
    assert len(messages("$x = f(1, 2;\nif ($x) { echo 1; }")) == 1
    assert len(messages("class A extends B {\n  function f() { return 1; }\n  $x = 1;\n}\necho 1;")) == 1


def test_errors_come_in_the_order_of_the_source() -> None:
    starts = [re.search(r"\((\d+),", message) for message in messages("f() = 1;\n$a[];\nisset(1);\ng() = 2;")]
    assert [int(found[1]) for found in starts if found] == [1, 2, 3, 4]


# ---- the grammar file -----------------------------------------------------------------------------


def test_the_packed_grammar_is_taken_where_there_is_no_checkout(tmp_path: Path) -> None:
    package = tmp_path / "site" / "hslpy"
    package.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-r", f"{HERE.parents[1]}/hslpy/.", str(package)], check=True)
    packed = package / "_data" / "grammar"
    packed.mkdir(parents=True, exist_ok=True)
    (packed / "hsl.lark").write_text(parse_module.grammar_text())
    code = (
        "from hslpy.lang.parse import parse; from hslpy.lang.source import Source; print(parse(Source('x', 'echo 1;'))[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=package.parent, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_words_of_the_grammar_that_are_no_names() -> None:
    grammar = parse_module.grammar_text()
    listed = re.search(r"^NAME: /\(\?!\(\?:(.*?)\)", grammar, re.MULTILINE)
    assert listed
    kept = set(listed[1].split("|"))
    contextual = {"as", "from", "with", "builtin", "default"}
    words = set(re.findall(r"^_?[A-Z_]+(?:\.\d)?: /([a-z_]+)\\b/", grammar, re.MULTILINE)) | {
        "not",
        "private",
        "static",
        "readonly",
    }
    assert kept == words - contextual


def test_every_node_class_is_reached() -> None:
    seen: set[type] = set()
    for line in (HERE / "roundtrip.hsl").read_text().splitlines():
        waiting: list[s.Node] = [script(line)]
        while waiting:
            node = waiting.pop()
            seen.add(type(node))
            waiting += children_of(node)
    classes = {c for c in vars(s).values() if isinstance(c, type) and issubclass(c, s.Node) and dataclasses.is_dataclass(c)}
    assert classes - seen - {s.Node, s.Expr, s.Stmt} == set()


if __name__ == "__main__":
    (HERE / "golden" / "syntax_errors.txt").write_text(rendered_errors())
