"""The REPL's session: what stays from one input to the next, and where errors point."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hslpy.clock import ManualClock
from hslpy.tooling.bench import Bench, services_in_memory
from hslpy.tooling.events import make_event
from hslpy.tooling.session import Session, is_open


def session(hook: str | None = None, **facts: object) -> Session:
    clock = ManualClock()
    event = make_event(hook, facts) if hook is not None else None
    return Session(Bench(services_in_memory(clock), clock=clock), hook, event)


def say(to: Session, *inputs: str) -> list[str]:
    """Give all that the inputs print."""
    out: list[str] = []

    async def submit() -> None:
        for text in inputs:
            out.extend(await to.submit(text, out.append))

    asyncio.run(submit())
    return out


@pytest.mark.parametrize(
    ("inputs", "printed"),
    [
        (["1 + 2"], ["3"]),
        (["1 + 2;"], ["3"]),
        (["$x = 5", "$x"], ["5"]),
        (["$x = 5;", "$x++", "$x += 1", "$x"], ["7"]),
        (["$a[] = 1; $a[] = 2", "$a"], ["[1, 2]"]),
        (["function f($n) { return $n * 2; }", "f(4)", "function f($n) { return $n * 3; }", "f(4)"], ["8", "12"]),
        (["$n = 1", "$f = function () closure ($n) { $n += 1; return $n; };", "$f()", "$f()", "$n"], ["2", "3", "3"]),
        (["$n = 1", "function up() { global $n; $n += 1; }", "up()", "up()", "$n"], ["3"]),
        (["foreach ([1, 2] as $v) echo $v;", "$v"], ["1", "2", "2"]),
        (["[$a, $b] = [1, 2]", "$b"], ["2"]),
        (["none"], []),
        (['"å"'.encode().decode("latin-1")], ['"å"'.encode().decode("latin-1")]),
        (["isset($q)"], ["false"]),
        (['rate("a", "b", 1, 60)', 'rate("a", "b", 1, 60)'], ["true", "false"]),
        (["class P { function get() { return 7; } }", "$p = P();", "$p->get()"], ["7"]),
        (["", "// nothing"], []),
    ],
)
def test_state_stays(inputs: list[str], printed: list[str]) -> None:
    assert say(session(), *inputs) == printed


def test_errors_point_into_the_input() -> None:
    (text,) = say(session(), "1 / 0")
    assert text.splitlines()[:4] == ["error[R123]: division by zero", " --> <input 1>:1:1", "  |", "1 | 1 / 0;"]
    assert text.splitlines()[4] == "  | ^^^^^"


def test_an_error_in_an_earlier_function_points_there() -> None:
    out = say(session(), "function bad($n) { return 1 / $n; }", "$x = 1;", "bad(0)")
    assert "--> <input 1>:1:27" in out[0] and "called from <input 3>:1:1" in out[0]


def test_an_error_in_an_earlier_closure() -> None:
    out = say(session(), "$f = function ($n) { return 1 / $n; };", "$f(0)", "1")
    assert "division by zero" in out[0] and out[1] == "1"


def test_an_input_with_errors_changes_nothing() -> None:
    out = say(session(), "function f() { return 1; }", "function f() { return g(); }", "f()")
    assert "unknown function `g`" in out[0] and out[1] == "1"


def test_a_misspelt_function_has_a_hint() -> None:
    assert "did you mean `length`?" in say(session(), 'lenght("a")')[0]


def test_an_unset_variable_is_warned_of() -> None:
    out = say(session(), "echo $nothing;")
    assert "W501" in out[0] and "R106" in out[1]


def test_imports_and_includes_stay(tmp_path: Path) -> None:
    file = tmp_path / "m.hsl"
    file.write_text("// module\nfunction twice($n) {\n    return $n * 2;\n}\nfunction bad() { return 1 / 0; }\n")
    assert say(session(), f'import {{ twice }} from "{file}";', "twice(4)", "twice(5)") == ["8", "10"]
    out = say(session(), f'include "{file}";', "twice(4)", f'include "{file}";', "twice(5)", "bad()")
    assert out[:2] == ["8", "10"]
    assert f"{file}:5:25" in out[2]


def test_a_hook_has_its_variables_and_functions() -> None:
    at = session("rcptto", senderdomain="a.example")
    out = say(at, "$senderdomain", "$mine = 1", 'Defer("no")', "$mine", "ScanSA()")
    assert out[0] == '"a.example"'
    assert out[1:3] == ['verdict: Defer 450 4.7.1 "no"', "(the hook begins anew; your variables stay)"]
    assert out[3] == "1" and "`ScanSA` is available at data, eod, not at rcptto" in out[4]


def test_read_only_variables_stay_so() -> None:
    assert say(session("rcptto"), '$connection = "x"')[0].startswith("error[E")


def test_setters_show_in_the_verdict_of_the_end() -> None:
    at = session("predelivery")
    assert say(at, 'SetSourceIP("netaddr:2")') == []
    assert at.end()[:2] == ["verdict: Try", '  sourceip: ["netaddr:2"]']
    assert at.end()[:1] == ["verdict: Try"]


def test_the_end_of_data_delivers_with_the_headers_added() -> None:
    at = session("data")
    say(at, 'AddHeader("X-A", "1")')
    assert "      X-A: 1" in at.end()


def test_completion_lists() -> None:
    at = session("rcptto")
    say(at, "$mine = 1", "function own() {}")
    assert {"mine", "senderdomain"} <= set(at.variable_names())
    assert {"own", "Defer", "length"} <= set(at.function_names())
    assert not any(name.startswith("__") for name in at.function_names())
    assert dict(at.variables())["mine"] == "1"
    assert at.describe("rate")[0].startswith("rate(")


@pytest.mark.parametrize("text", ["f(1,", "if (1) {", '"abc', "[1,\n2", "/* a", "''raw", "1 +", "function f() {\n echo 1;"])
def test_open_inputs(text: str) -> None:
    assert is_open(text)


@pytest.mark.parametrize("text", ["", "1", "f(1);", "f(1;", "}", "1 + ;", "$x = 5", "if (1) { echo 1; }", "else"])
def test_closed_inputs(text: str) -> None:
    assert not is_open(text)


@pytest.mark.parametrize("hook", ["predelivery", "postdelivery"])
def test_queued_mail_has_its_files(hook: str) -> None:
    script = 'echo MailMessage::File(File($message["file"]["modified"]))->getHeader("Subject");'
    twice = "$file = GetMailFile(); echo $file->read(5); $file->close(); echo GetMailFile()->read(4);"
    assert say(session(hook), script, twice) == ["A test", "From:", "From"]
