"""What is not provided here is said so, with the reason, where a script uses it."""

from __future__ import annotations

import pytest

from hslpy.builtins import ALL, for_hook
from hslpy.builtins.absent import ABSENT
from hslpy.lang.diagnostics import render
from hslpy.lang.load import load_program
from hslpy.lang.source import Source


def findings(text: str) -> list[str]:
    loaded = load_program(
        "main.hsl",
        lambda path, importer: Source(path, text),
        for_hook("data"),
        {},
        hook="data",
        elsewhere=ALL,
        absent=ABSENT,
    )
    return [render(found) for found in loaded.diagnostics]


def test_nothing_is_both_there_and_absent() -> None:
    """A function that was built loses its row in builtins/absent.py."""
    assert not set(ABSENT) & ({row.name for row in ALL} | {row.owner for row in ALL})


def test_the_whole_diagnostic() -> None:
    assert findings("$x = queue_quota(1);") == [
        "error[E408]: `queue_quota` is not provided here: "
        "changing the queue's policies and metrics from scripts comes with a later version\n"
        " --> main.hsl:1:6\n"
        "  |\n"
        "1 | $x = queue_quota(1);\n"
        "  |      ^^^^^^^^^^^"
    ]


@pytest.mark.parametrize(
    "text",
    [
        '$lib = FFI("libc.so.6");',
        "$type = FFI::type(1);",
        "$f = eval;",
        'globalview("192.0.2.1");',
        "array_map(globalview, []);",
    ],
)
def test_every_use_of_one(text: str) -> None:
    (found,) = findings(text)
    assert found.startswith("error[E408]")


def test_own_functions_take_the_name() -> None:
    assert findings('function globalview($ip) { return "accept"; } echo globalview("192.0.2.1");') == []
