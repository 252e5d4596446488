"""What surrounds compiled code: limits, pauses, places of errors, verdicts, the disk cache, hints across hooks."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from hslpy.builtins import for_hook
from hslpy.clock import ManualClock
from hslpy.errors import ScriptError
from hslpy.lang.declare import Builtin, Effect, Topic, parse_signature
from hslpy.lang.load import Loaded, Predefined, load_program
from hslpy.lang.run import LimitExceeded, Limits, Run, VerdictGiven, execute
from hslpy.lang.source import Source, Span
from hslpy.lang.values import Array, HslFunction, Value
from tests.support.yardstick import assert_grows_linearly, assert_within, timed

topic = Topic("test")


@topic.builtin("Stop() -> terminates", effect=Effect.IO)
def stop(call: Run) -> None:
    raise VerdictGiven("stopped")


@topic.builtin("Sleep() -> number", effect=Effect.IO)
def sleep(call: Run) -> float:
    return float(call.wait(None))  # type: ignore[arg-type]


@topic.builtin("Twice(callback: function) -> array", effect=Effect.PURE)
def twice(call: Run, callback: Value) -> Array:
    return Array.of([call.invoke(callback, 1.0), call.invoke(callback, 2.0)])


@topic.builtin("Work(units: number) -> none", effect=Effect.PURE)
def work(call: Run, units: float) -> None:
    for _ in range(int(units)):
        call.charge(1)


@topic.builtin("Elsewhere() -> none", effect=Effect.IO, hooks=("predelivery",))
def elsewhere() -> None:
    return None


TABLE: dict[str, Builtin] = {**for_hook(None), **{row.name: row for row in topic.rows if row.name != "Elsewhere"}}


def load(text: str, **options: Any) -> Loaded:
    return load_program("main.hsl", lambda path, importer: Source(path, text), TABLE, {}, **options)


def run(text: str, **options: Any) -> list[str]:
    loaded = load(text)
    assert loaded.program is not None, [d.message for d in loaded.diagnostics]
    said: list[str] = []
    execute(loaded.program, Run(echo=said.append, **options))
    return said


def test_a_verdict_ends_the_run_and_no_catch_holds_it() -> None:
    with pytest.raises(VerdictGiven) as given:
        run("function f() { try { Stop(); } catch ($e) { echo 1; } } f();")
    assert given.value.verdict == "stopped"


def test_errors_have_places_and_a_stack_through_callbacks() -> None:
    text = "function low($x) { return 1 / ($x - 2); }\nfunction cb($x) { return low($x); }\n\nTwice(cb);"
    with pytest.raises(ScriptError) as caught:
        run(text)
    assert str(caught.value.span) == "main.hsl:1:27"
    stack: Any = caught.value.stack
    assert [(frame.name, str(frame.span), frame.arguments) for frame in stack] == [
        ("low", "main.hsl:1:27", "2"),
        ("cb", "main.hsl:2:26", "2"),
        (None, "main.hsl:4:1", None),
    ]


def test_a_caught_script_error_knows_its_place() -> None:
    assert run('try {\n  echo 1 / 0;\n} catch ($e) { echo $e->line() . ":" . $e->column(); }') == ["2:8"]


def test_python_errors_do_not_escape() -> None:
    for text in ("$x = 0; echo 1 / $x;", "echo 2 ** 5000 * 0 % 1;", "$a = []; $a[2 ** 5000] = 1;", "global $x; echo $y;"):
        try:
            run(text)
        except ScriptError as error:
            assert isinstance(error.span, Span)


class Loop:
    """A waiter that notes how long the run held on, in CPU time, between two turns."""

    def __init__(self) -> None:
        self.turns = 0
        self.longest_s = 0.0
        self.since = time.thread_time()

    def __call__(self, awaitable: Awaitable[Any]) -> Any:
        self.turns += 1
        self.longest_s = max(self.longest_s, time.thread_time() - self.since)
        close = getattr(awaitable, "close", None)
        if close is not None:
            close()
        self.since = time.thread_time()
        return 0.0


@pytest.mark.parametrize(
    "text",
    [
        "forever { }",
        "function f($x) { return $x; } forever f(1);",
        "$f = function () { }; forever $f();",
        'forever { $s = "a" . 1; if ($s =~ "b") break; }',
        "forever foreach ([1, 2, 3] as $x) { }",
        "function f($n) { if ($n > 0) { f($n - 1); f($n - 1); } } f(40);",
        "forever array_map(function ($x) { return $x; }, [1, 2]);",
        "Work(100000000);",
        "for (;;) switch (1) { case 1: continue; }",
        "forever try { throw 1; } catch ($e) { }",
        "$a = []; forever { $a[] = 1; if (count($a) > 10000) $a = []; }",
    ],
)
def test_no_endless_script_holds_the_loop(text: str) -> None:
    program = load(text).program
    assert program is not None

    def longest_stretch_s() -> float:
        loop = Loop()
        with pytest.raises(LimitExceeded):
            execute(program, Run(limits=Limits(steps=400_000, cpu_s=600.0), waiter=loop))
        assert loop.turns > 5
        return loop.longest_s

    assert_within(25, longest_stretch_s)  # the aim is a few; without turns it is hundreds


def test_wall_time_counts_waiting() -> None:
    clock = ManualClock()

    def waiter(awaitable: object) -> float:
        clock.advance(40.0)
        return 1.0

    with pytest.raises(LimitExceeded) as exceeded:
        run("Sleep(); Sleep();", clock=clock, waiter=waiter)
    assert exceeded.value.code == "R204"


@pytest.mark.parametrize(
    "text",
    [
        '$s = "x"; forever $s = $s . $s;',
        '$s = "x"; forever $s .= $s;',
        '$s = "x"; forever $s = "$s-$s";',
        "$a = [1]; forever $a += $a;",
        "$a = [1]; forever $a = [...$a, ...$a];",
        '$a = []; $s = "x" * 100000; forever $a[] = $s . "y";',
        "$a = []; forever $a[] = [1, 2, 3];",
        '$s = ["x" * 1000000]; $l = []; forever { $l[] = $s[0] . count($l); }',
        'function f($s) { return f($s . $s); } f("some text");',
        '$s = ""; forever $s .= "0123456789" * 100;',
    ],
)
def test_memory_is_bounded(text: str) -> None:
    with pytest.raises(LimitExceeded) as exceeded:
        run(text, limits=Limits(memory_bytes=16 * 1024 * 1024, steps=100_000_000, cpu_s=600.0, wall_s=600.0))
    assert exceeded.value.code == "R205"
    assert exceeded.value.span is not None


@pytest.mark.parametrize(
    "text",
    [
        'echo "x" * 20000000000;',
        '$s = "x"; forever $s = $s . $s;',
        '$s = "x"; forever $s .= $s;',
        'echo "%20000000000s" % [""];',
    ],
)
def test_one_string_is_bounded_by_what_copies_quickly(text: str) -> None:
    with pytest.raises(LimitExceeded) as exceeded:
        run(text)
    assert exceeded.value.code == "R207" and "longer than 16 MiB" in str(exceeded.value)


@pytest.mark.parametrize(
    ("times", "text"),
    [
        (50_000, 'for ($i = 0; $i < $n; $i++) { $s .= "0123456789"; } echo length($s) / 10;'),
        (
            50_000,
            'function f($n) { global $s; for ($i = 0; $i < $n; $i++) { $s .= "0123456789"; } } f($n); echo length($s) / 10;',
        ),
        (125, '$s = "x" * 1000000; for ($i = 0; $i < $n; $i++) { $t = $s . $i; } echo $i;'),
        (25_000, "for ($i = 0; $i < $n; $i++) { $a = [$i, [$i]]; } echo $i;"),
        (12_500, "function c($l) { return count($l); } for ($i = 0; $i < $n; $i++) { $a[] = $i; c($a); } echo c($a);"),
        (12_500, "for ($i = 0; $i < $n; $i++) { $a[] = $i; foreach ($a as $x) break; } echo count($a);"),
    ],
)
def test_long_harmless_loops_pass(times: int, text: str) -> None:
    def cost_s(times: int) -> float:
        limits = Limits(memory_bytes=16 * 1024 * 1024)
        return timed(lambda: said.append(run(f'$n = {times}; $s = ""; $a = []; {text}', limits=limits)))

    said: list[list[str]] = []
    assert_grows_linearly(cost_s, times)
    assert [str(times)] in said and [str(4 * times)] in said


def test_functions_know_their_counts() -> None:
    said: list[str] = []
    call = Run(echo=said.append)
    with pytest.raises(ScriptError, match="f\\(\\) takes 1 to 2 arguments, got 3"):
        call.invoke(HslFunction(lambda *a: None, "f", 1, 2), 1.0, 2.0, 3.0)
    with pytest.raises(ScriptError, match="only a function can be called"):
        call.invoke(5.0)


def test_functions_of_other_hooks_are_named() -> None:
    loaded = load("Elsewhere();", hook="rcptto", elsewhere=topic.rows)
    assert loaded.diagnostics[0].message == "`Elsewhere` is available at predelivery, not at rcptto"


def test_what_a_program_reads() -> None:
    predefined = {"here": Predefined(("string",)), "unused": Predefined(("string",))}
    loaded = load_program("m", lambda p, i: Source(p, "echo $here . strlen($here);"), TABLE, predefined)
    assert loaded.program is not None
    assert loaded.program.reads == {"here", "strlen"}


def test_a_cached_program_is_taken_until_a_file_changes(tmp_path: Path) -> None:
    files = {"main.hsl": 'include "inc.hsl"; echo "main" . f();', "inc.hsl": "function f() { return 1; }"}
    folder = tmp_path / "cache"

    def reader(path: str, importer: str | None) -> Source:
        return Source(path, files[path])

    def echoed() -> list[str]:
        loaded = load_program("main.hsl", reader, TABLE, {}, cache=folder)
        assert loaded.program is not None
        said: list[str] = []
        execute(loaded.program, Run(echo=said.append))
        assert len(loaded.sources) == 2
        return said

    assert echoed() == ["main1"]
    (kept,) = folder.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    before = kept.stat().st_mtime_ns
    assert echoed() == ["main1"]
    assert kept.stat().st_mtime_ns == before
    files["inc.hsl"] = "function f() { return 2; }"
    assert echoed() == ["main2"]
    kept.write_bytes(b"damaged")
    assert echoed() == ["main2"]
    os.chmod(folder, 0o777)  # somebody else might have written there
    files["inc.hsl"] = "function f() { return 3; }"
    assert echoed() == ["main3"]


def test_cached_warnings_come_again(tmp_path: Path) -> None:
    for _ in range(2):
        assert [d.code for d in load("if (false) echo $nope;", cache=tmp_path / "c").diagnostics] == ["W501"]


def test_at_most_fifty_findings() -> None:
    assert len(load("\n".join(f"unknown{n}();" for n in range(80))).diagnostics) == 50


@pytest.mark.parametrize(
    "text",
    [
        '$a = "x"; echo length(' + " . ".join(["$a"] * 5000) + ");",
        "$a = 1; echo " + " + ".join(["$a"] * 5000) + ";",
        "function f($a) { "
        + " else ".join(f"if ($a == {n}) return {n};" for n in range(1000))
        + " return 0; } echo f(999) + 4001;",
        "$x = 4000; switch (999) { " + " ".join(f"case {n}: $x += {n}; break;" for n in range(1000)) + " } echo $x + 1;",
        "$x = 0; " + "".join(f"for ($i{n} = 0; $i{n} < 1; $i{n}++) " for n in range(17)) + "$x++; echo $x * 5000;",
        "echo " + "(" * 100 + "5000" + ")" * 100 + ";",
    ],
)
def test_long_and_deep_programs(text: str) -> None:
    assert run(text) == ["5000"]


def test_deep_blocks_are_diagnosed() -> None:
    loaded = load("".join(f"foreach ([1] as $x{n}) " for n in range(25)) + "echo 1;")
    assert [d.code for d in loaded.diagnostics if d.is_error] == ["E407"]


def test_signatures_are_matched_against_python() -> None:
    for text in ("f(a: string)", "f(a: nonsense) -> none", "f(...a: any, b: any) -> none", "f([a: any], b: any) -> none"):
        with pytest.raises(ValueError):
            parse_signature(text)
    with pytest.raises(ValueError, match="Python parameters"):
        topic.builtin("f(a: string) -> none", effect=Effect.PURE)(lambda b: None)
    with pytest.raises(ValueError, match="optional"):
        topic.builtin("f([a: string]) -> none", effect=Effect.PURE)(lambda a: None)
    with pytest.raises(ValueError, match="variadic"):
        topic.builtin("f(...a: string) -> none", effect=Effect.PURE)(lambda a: None)
