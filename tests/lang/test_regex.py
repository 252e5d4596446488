"""Regular expressions: the dialect, bytes against UTF-8, bad patterns, and the limit on time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from typing import Any

import pytest
from greenlet import getcurrent, greenlet
from hypothesis import given
from hypothesis import strategies as st

from hslpy.clock import SystemClock
from hslpy.errors import ScriptError
from hslpy.lang import regex
from hslpy.lang.pcre import PatternError, literal, translate
from hslpy.lang.run import LimitExceeded, Limits, Run
from hslpy.lang.values import Regex


def fresh_run(**limits: Any) -> Run:
    run = Run(clock=SystemClock(), random=random.Random(1), limits=Limits(**limits))
    run.start()
    return run


def first(pattern: str | Regex, subject: str) -> list[str] | None:
    run = fresh_run()
    return regex.first(run, regex.compiled(run, pattern), subject)


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("b+", "abbc", ["bb"]),
        ("/B+/i", "abbc", ["bb"]),
        ("/a/b", "x/a/b", ["/a/b"]),
        ("/x/y/", "ax/y", ["x/y"]),
        (r"(\w+)@(\w+)", "to alice@example", ["alice@example", "alice", "example"]),
        ("(?<n>a)(?P<m>b)(?'k'c)", "abc", ["abc", "a", "b", "c"]),
        (r"(a)|(b)", "b", ["b", "", "b"]),
        (r"^\s*$", "\x85", None),
        (r"\s", "\xa0", None),
        (r"\w", "\xe9", None),
        (r"\d", "\xb2", None),
        ("/\xc3\xa9/ui", "\xc3\x89", ["\xc3\x89"]),
        ("/^.$/u", "\xc3\xa5", ["\xc3\xa5"]),
        ("/^.$/", "\xc3\xa5", None),
        ("/./u", "\xff", None),
        ("/^b/m", "a\nb", ["b"]),
        ("/a.b/s", "a\nb", ["a\nb"]),
        ("/ a b # comment [ (\n c/x", "abc", ["abc"]),
        ("/a[ ]b/x", "a b", ["a b"]),
        ("/a+/U", "aaa", ["a"]),
        ("/a+?/U", "aaa", ["aaa"]),
        ("(?U)a+", "aaa", ["a"]),
        ("/<.+>/U", "<a><b>", ["<a>"]),
        (r"[\w-.]+", "a-.b c", ["a-.b"]),
        (r"[a-\d]+", "a-1", ["a-1"]),
        ("[]a]+", "]a", ["]a"]),
        ("[^]a]+", "]ab", ["b"]),
        ("[a[b]+", "a[b", ["a[b"]),
        ("[&&--||~~]+", "&-|~", ["&-|~"]),
        ("[[:alpha:]_]+", "1ab_", ["ab_"]),
        ("[[:^alpha:]]+", "ab12", ["12"]),
        (r"[\h\n]+", "a \t\n", [" \t\n"]),
        (r"[\x41-\x43]+", "xABC", ["ABC"]),
        (r"\x{41}\x4a\101\e", "AJA\x1b", ["AJA\x1b"]),
        (r"a{,3}", "a{,3}", ["a{,3}"]),
        (r"x{e}", "x{e}", ["x{e}"]),
        (r"a{2}{2}", "aaaaa", ["aaaa"]),
        (r"\Qa.b\E+", "a.bbb", ["a.bbb"]),
        (r"a\z", "a\n", None),
        (r"a\Z", "a\n", ["a"]),
        ("a$", "a\n", ["a"]),
        (r"(a)\1", "aa", ["aa", "a"]),
        (r"(a)(b)\g{-1}\g1", "abba", ["abba", "a", "b"]),
        (r"(?<q>['\"]).*?\k<q>", "x 'a' y", ["'a'", "'"]),
        (r"\((?:[^()]|(?R))*\)", "f(a(b)c)", ["(a(b)c)"]),
        (r"(?<p>\((?:[^()]|(?&p))*\))", "f(a(b)c)", ["(a(b)c)", "(a(b)c)"]),
        (r"(a(?i)b|c)", "C", ["C", "C"]),
        (r"a(?#comment)b", "ab", ["ab"]),
        (r"(?>a+)b", "aab", ["aab"]),
        (r"a++b", "aab", ["aab"]),
        (r"foo\Kbar", "foobar", ["bar"]),
        (r"(?(?=a)ab|cd)", "cd", ["cd"]),
        (r"(<)?a(?(1)>)", "<a>", ["<a>", "<"]),
        (r"(?<=\.)\w+", "a.b", ["b"]),
        (r"\y\_\-", "y_-", ["y_-"]),
        (r"\R", "\r\n", ["\r\n"]),
        (r"\N+", "ab\n", ["ab"]),
        ("", "abc", [""]),
        ("}]", "}]", ["}]"]),
        (Regex("b", "i"), "aB", ["B"]),
        (Regex("/b/", ""), "/b/", ["/b/"]),
        ("(*UTF8)^.$", "\xc3\xa5", ["\xc3\xa5"]),
    ],
)
def test_matching(pattern: str | Regex, subject: str, expected: list[str] | None) -> None:
    assert first(pattern, subject) == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a", "missing `)` to close the group, at offset 0"),
        ("a)", "unmatched `)`, at offset 1"),
        ("[a", "missing `]` to close the class, at offset 0"),
        ("*a", "nothing to repeat before `*`, at offset 0"),
        ("a|*", "nothing to repeat before `*`, at offset 2"),
        ("ab{3,1}", "out of order, at offset 2"),
        ("[z-a]", "out of order"),
        ("a\\", "`\\` at the end"),
        (r"(a)\2", "offset 3"),
        (r"(?<1a>b)", "a group name"),
        (r"(?Kx)", "unknown kind of group"),
        (r"[[:foo:]]", "no class"),
        (r"\x{100}", "without modifier `u`"),
        ("/\xff/u", "not valid UTF-8"),
        (r"/\y/X", "not supported"),
        ("(" * 200 + ")" * 200, "nested"),
        ("a" * 40_000, "at most"),
        (r"(?&nope)", "bad regular expression"),
        (r"a{99999}", "too large"),
    ],
)
def test_bad_patterns(pattern: str, message: str) -> None:
    with pytest.raises(ScriptError) as caught:
        first(pattern, "a")
    assert caught.value.code == "R129"
    assert message in caught.value.message
    assert regex.check_pattern(pattern) == caught.value.message


def test_check_pattern_accepts() -> None:
    assert regex.check_pattern("/a+/i") is None
    assert regex.check_pattern("/a/", "x") is None


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=20))
def test_any_text_as_a_pattern_ends_well(pattern: str) -> None:
    try:
        first(pattern, "some text\r\n")
    except ScriptError as error:
        assert error.code == "R129"


@given(st.text(alphabet="ab()[]{}*+?|\\^$.-:<>=!'&19ziQE#,", max_size=16))
def test_any_syntax_ends_well(pattern: str) -> None:
    try:
        first(pattern, "aab1")
    except ScriptError as error:
        assert error.code == "R129"


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=20))
def test_literals_match_themselves(text: str) -> None:
    assert first("".join(map(literal, text)), text) == [text]


@pytest.mark.parametrize(
    ("pattern", "degree"),
    [("abc", 1), ("^abc", 0), ("a*b", 2), ("^a*b", 1), ("a*b*", 3), ("(a|b)c", 1), (r"(\w+)@(\w+)", 3)],
)
def test_bounds_on_cost(pattern: str, degree: int) -> None:
    assert translate(pattern, "").degree == degree


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|b)*c", r"(a)\1", "(a?){30}", "(?R)?a", "(*SKIP)a", "(?|a|b)", "(a*)*"])
def test_patterns_without_a_bound(pattern: str) -> None:
    assert translate(pattern, "").degree == float("inf")


def test_positions_are_those_of_the_pattern() -> None:
    with pytest.raises(PatternError) as caught:
        translate(r"\d+\w+(?Z)", "")
    assert caught.value.position == 6


def test_find_all_and_its_limit() -> None:
    run = fresh_run()
    ready = regex.compiled(run, "a*")
    assert [m.span() for m in regex.find_all(run, ready, "baac")] == [(0, 0), (1, 3), (3, 3), (4, 4)]
    words = regex.compiled(run, r"\w+")
    assert len(regex.find_all(run, words, "a b " * 20_000)) == 40_000
    assert len(regex.find_all(run, words, "a b " * 20_000, 10_000)) == 10_000


CATASTROPHIC = "(a|aa)+$"
VICTIM = "a" * 60 + "b"


@pytest.mark.parametrize(("pattern", "subject"), [(CATASTROPHIC, VICTIM), (r"(.*?,){11}P", ",".join(map(str, range(40))))])
def test_a_catastrophic_pattern_is_stopped(pattern: str, subject: str) -> None:
    run = fresh_run(regex_s=0.05)
    with pytest.raises(LimitExceeded) as caught:  # the first of them would take longer than anybody waits
        regex.matches(run, subject, pattern)
    assert caught.value.code == "R206"
    with pytest.raises(LimitExceeded):
        regex.find_all(run, regex.compiled(run, pattern), subject)


def test_a_catastrophic_pattern_leaves_the_loop_free() -> None:
    """While the pattern runs into its limit, another task still gets its turns."""

    async def scenario() -> tuple[int, str]:
        loop_greenlet = getcurrent()

        def waiter(awaitable: Awaitable[Any]) -> Any:
            return loop_greenlet.switch(awaitable)

        run = Run(clock=SystemClock(), random=random.Random(1), limits=Limits(regex_s=0.3), waiter=waiter)

        def script() -> str:
            run.start()
            try:
                regex.matches(run, VICTIM, CATASTROPHIC)
            except LimitExceeded as error:
                return error.code
            return "no limit"

        turns = 0

        async def ticker() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.001)
                turns += 1

        ticking = asyncio.ensure_future(ticker())
        worker = greenlet(script)
        step = worker.switch()
        while not worker.dead:
            try:
                result = await step
            except BaseException as error:
                step = worker.throw(error)
            else:
                step = worker.switch(result)
        ticking.cancel()
        return turns, step

    turns, outcome = asyncio.run(scenario())
    assert outcome == "R206"
    assert turns > 5
