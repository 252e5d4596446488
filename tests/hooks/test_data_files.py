"""What is said of data files that cannot be read."""

from __future__ import annotations

import pytest

from hslpy.errors import ScriptError
from hslpy.hooks.data import read_data
from hslpy.lang.source import Source


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ('{"a": 1,\n "b": }\n', "2:7", "`}` stands there"),
        ('{"a": 1', "1:8", "the file ends there"),
        ("", "1:1", "the file ends there"),
    ],
)
def test_broken_json_says_what_stands_there(text: str, place: str, hint: str) -> None:
    with pytest.raises(ScriptError) as raised:
        read_data("json", Source("b.json", text), ())
    assert (raised.value.message, raised.value.hint) == (f"no JSON in b.json:{place}", hint)


def test_a_broken_key_is_not_shown() -> None:
    with pytest.raises(ScriptError) as raised:
        read_data("key", Source("b.key", "secret"), ())
    assert "secret" not in f"{raised.value.message} {raised.value.hint}"
