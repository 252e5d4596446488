"""Operators against the rules of the language: equality, order, arithmetic, text, formatting, slices."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hslpy.errors import ScriptError
from hslpy.lang import operators as op
from hslpy.lang.values import Array, HslObject, Regex, Value


class Meter:
    """A run's budget that remembers what was booked, and refuses more than 64 MiB."""

    def __init__(self) -> None:
        self.units = 0
        self.bytes = 0

    def charge(self, units: int) -> None:
        self.units += units

    def reserve(self, size_bytes: int) -> None:
        self.bytes += size_bytes
        if size_bytes > 1 << 26:
            raise MemoryError

    reserve_text = reserve


@pytest.fixture
def run() -> Meter:
    return Meter()


def arr(*values: Value, **named: Value) -> Array:
    result = Array.of(values)
    for key, value in named.items():
        result.set(key, value)
    return result


def text(value: Value) -> str:
    return op.to_echo(None, value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, False), (False, False), (0.0, False), ("", False), ("0", True), ("0.0", True), (arr(), False), (arr(0.0), True)],
)
def test_truth(value: Value, expected: bool) -> None:
    assert op.truth(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("12", 12.0),
        ("-1.5", -1.5),
        ("+3", 3.0),
        ("0x1f", 31.0),
        ("0XFF", 255.0),
        ("-0x10", -16.0),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1_0", 0.0),
        ("inf", 0.0),
        ("nan", 0.0),
        (" 1", 0.0),
        ("1 ", 0.0),
        ("1\n", 0.0),
        ("", 0.0),
        ("0x", 0.0),
        ("0o17", 0.0),
        ("\xb2", 0.0),
        ("12abc", 0.0),
        (True, 1.0),
        (None, 0.0),
        (arr(1.0), 0.0),
        ("0x" + "f" * 1000, math.inf),
    ],
)
def test_to_number(value: Value, expected: float) -> None:
    assert op.to_number(value) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-5.0, "-5"),
        (0.1, "0.1"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (2.0**53, "9007199254740992"),
        (1 / 3, "0.3333333333333333"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
    ],
)
def test_format_number(number: float, expected: str) -> None:
    assert op.format_number(number) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_from_its_text(number: float) -> None:
    assert op.to_number(op.format_number(number)) == number


def test_array_text() -> None:
    value = arr("a", 'q"\\', None, True, arr(), arr(1.5, k=arr("x")), k=1.0)
    assert text(value) == '[0=>"a",1=>"q\\"\\\\",2=>none,3=>true,4=>[],5=>[0=>1.5,"k"=>[0=>"x"]],"k"=>1]'
    assert text(arr()) == "[]"


def test_text_of_a_very_deep_array_does_not_overflow() -> None:
    value = arr()
    for _ in range(50_000):
        value = arr(value)
    assert len(text(value)) == 2 * 50_001 + 3 * 50_000
    assert op.identical(None, value, arr(*value.values()))


def test_none_is_no_text(run: Meter) -> None:
    with pytest.raises(ScriptError, match=r"\$x is none") as caught:
        op.to_string(run, None, "$x")
    assert caught.value.code == "R121"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("1", 1),
        ("-1", -1),
        ("01", "01"),
        ("-0", "-0"),
        ("1.9", "1.9"),
        ("", ""),
        (1.9, 1),
        (-1.9, -1),
        (True, 1),
        (20000000000.0, 20000000000),
        ("9007199254740991", 9007199254740991),
        ("9007199254740993", "9007199254740993"),
        ("12345678901234567890", "12345678901234567890"),
        ("\xb2", "\xb2"),
        ("1\n", "1\n"),
        (":", ":"),
    ],
)
def test_normalise_key(key: Value, expected: int | str) -> None:
    assert op.normalise_key(key) == expected


@pytest.mark.parametrize("key", [None, arr(), math.inf, math.nan])
def test_keys_that_cannot_be(key: Value) -> None:
    with pytest.raises(ScriptError, match="R125"):
        op.normalise_key(key)


THING = HslObject("Thing")


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (None, None, True),
        (None, False, False),
        (None, 0.0, False),
        (None, "", False),
        (None, arr(), False),
        (5.0, True, False),
        (1.0, True, True),
        ("0", True, True),
        ("", False, True),
        (arr(), False, True),
        (arr(1.0), True, True),
        (THING, True, True),
        (0.0, "abc", True),
        (1.0, "1.0", True),
        (1.0, arr(5.0), True),
        (0.0, arr(), True),
        ("a", arr("a"), False),
        ("", arr(), False),
        ("1", "1.0", False),
        (THING, THING, True),
        (THING, HslObject("Thing"), False),
        (Regex("a", "i"), Regex("a", "i"), True),
        (math.nan, math.nan, False),
    ],
)
def test_loose_equal(left: Value, right: Value, expected: bool) -> None:
    assert op.loose_equal(None, left, right) is expected
    assert op.loose_equal(None, right, left) is expected


def test_identical() -> None:
    assert not op.identical(None, 1.0, True)
    assert not op.identical(None, 1.0, "1")
    assert op.identical(None, arr(1.0, k=arr("x")), arr(1.0, k=arr("x")))
    assert not op.identical(None, arr(1.0), arr(True))
    a, b = Array.mapping({"x": 1.0, "y": 2.0}), Array.mapping({"y": 2.0, "x": 1.0})
    assert not op.identical(None, a, b)


def test_order(run: Meter) -> None:
    assert op.less(run, "a", "b")
    assert op.less(run, "Z", "a")
    assert op.less(run, 2.0, "10")
    assert not op.less(run, "2", "10")
    assert op.less(run, False, True)
    assert op.less_equal(run, 1.0, True)
    with pytest.raises(ScriptError, match="cannot compare none with number"):
        op.less(run, None, 1.0)
    with pytest.raises(ScriptError, match="`>=` cannot compare"):
        op.less_equal(run, arr(), 1.0, ">=")


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [(-5.0, 3.0, -2.0), (5.0, -3.0, 2.0), (7.9, 3.0, 1.0), (1e300, 7.0, math.fmod(1e300, 7)), (True, 2.0, 1.0)],
)
def test_modulo(run: Meter, left: Value, right: Value, expected: float) -> None:
    assert op.modulo(run, left, right) == expected


def test_division_by_zero(run: Meter) -> None:
    for divide in (
        lambda: op.divide(1.0, 0.0),
        lambda: op.modulo(run, 1.0, 0.5),
        lambda: op.divide(1.0, "abc"),
        lambda: op.power(0.0, -1.0),
    ):
        with pytest.raises(ScriptError, match="R123"):
            divide()


def test_power_never_raises_pythons_errors() -> None:
    assert op.power(10.0, 400.0) == math.inf
    assert op.power(-10.0, 401.0) == -math.inf
    assert math.isnan(op.power(-8.0, 1 / 3))
    assert op.power(2.0, "3") == 8.0


def test_arithmetic_of_other_types(run: Meter) -> None:
    assert op.add(run, "2", 3.0) == 5.0
    assert op.add(run, "2", "3") == 5.0
    assert op.add(run, True, 1.0) == 2.0
    with pytest.raises(ScriptError, match=r"`\+` wants numbers, got none and number"):
        op.add(run, None, 1.0)
    with pytest.raises(ScriptError, match="R122"):
        op.add(run, 1.0, arr())
    with pytest.raises(ScriptError, match="R122"):
        op.multiply(run, "a", "b")
    with pytest.raises(ScriptError, match="R122"):
        op.negate(None)


def test_arrays_are_added(run: Meter) -> None:
    left = arr("x", k=1.0)
    assert text(op.add(run, left, arr("y", k=2.0, n=3.0))) == '[0=>"x","k"=>2,1=>"y","n"=>3]'
    assert text(op.add(run, left, "z")) == '[0=>"x","k"=>1,1=>"z"]'
    assert text(op.add(run, arr("first"), left)) == '[0=>"first",1=>"x","k"=>1]'
    assert text(left) == '[0=>"x","k"=>1]'
    assert text(op.add_into(run, left, left)) == '[0=>"x","k"=>1,1=>"x"]'


def test_values_are_taken_out_of_arrays(run: Meter) -> None:
    assert text(op.subtract(run, arr("foo", 5.0), 5.0)) == '[0=>"foo"]'
    assert text(op.subtract(run, arr("foo", "foo", 5.0), "foo")) == "[2=>5]"
    assert text(op.subtract(run, arr("foo", 5.0), arr("foo", 5.0))) == "[]"
    assert text(op.subtract(run, arr("5", 5.0, True, 1.0), arr(True))) == '[0=>"5",1=>5,3=>1]'
    assert text(op.subtract(run, arr(arr(1.0), arr(2.0)), arr(arr(1.0)))) == "[1=>[0=>2]]"


def test_repetition(run: Meter) -> None:
    assert op.multiply(run, "x", 3.0) == op.multiply(run, 3.0, "x") == "xxx"
    assert op.multiply(run, "x", -1.0) == ""
    assert text(op.multiply(run, 2.0, arr("x", "y"))) == '[0=>"x",1=>"y",2=>"x",3=>"y"]'
    with pytest.raises(MemoryError):
        op.multiply(run, "x" * 1000, 1e9)
    with pytest.raises(MemoryError):
        op.multiply(run, arr(1.0), 1e9)
    with pytest.raises(ScriptError, match="R108"):
        op.multiply(run, "x", math.inf)


def test_bits() -> None:
    assert op.bit_and(0xFFFFFFFF * 1.0, 255.0) == 255.0
    assert op.bit_or(0x80000000 * 1.0, 0.0) == -2147483648.0
    assert op.bit_xor(5.0, 1.0) == 4.0
    assert op.bit_not(0.0) == -1.0
    assert op.shift_left(1.0, 31.0) == -2147483648.0
    assert op.shift_right(-8.0, 1.0) == -4.0
    assert op.shift_right_unsigned(-1.0, 0.0) == 4294967295.0
    assert op.bit_and(math.nan, 1.0) == 0.0


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        ("Hello %s!", ["World"], "Hello World!"),
        ("%5s|%-", ["a"], None),
        ("%5s|%<5s|%^5s|%>5s", ["a", "b", "c", "d"], "a    |b    |  c  |    d"),
        ("%.2s", ["abc"], "ab"),
        ("%f %.2f %8.1f", [1.5, 2.0, 3.25], "1.5 2.00      3.2"),
        ("%'0=6f", [-1.0], "-00001"),
        ("%x %b %c", [255.0, 5.0, 65.0], "ff 101 A"),
        ("%'*>4x", [10.0], "***a"),
        ("%[1]s %s %[0]s", ["a", "b", "c"], "b c a"),
        ("100%%", [], "100%"),
        ("%s %s", ["a"], None),
        ("%d", [1.0], None),
        ("%", [], None),
        ("%s", [None], None),
        ("%x", ["0x1f"], "1f"),
        ("%'\n>3s", ["a"], "\n\na"),
    ],
)
def test_format_percent(run: Meter, template: str, values: Iterable[Value], expected: str | None) -> None:
    if expected is None:
        with pytest.raises(ScriptError, match=r"R12[17]"):
            op.format_percent(run, template, Array.of(values))
    else:
        assert op.modulo(run, template, Array.of(values)) == expected


def test_format_reserves_what_it_pads(run: Meter) -> None:
    with pytest.raises(MemoryError):
        op.format_percent(run, "%999999999s", arr("a"))
    assert len(op.format_percent(run, "%.999999999f", arr(1.0))) < 2000


def test_get_index() -> None:
    assert op.get_index(arr("a"), "0") == "a"
    assert op.get_index(arr("a"), 7.0) is None
    assert op.get_index(arr("a"), None) is None
    assert op.get_index(None, "x") is None
    assert op.get_index("abc", 1.0) == "b"
    assert op.get_index("abc", 3.0) is None
    assert op.get_index("abc", -1.0) is None
    assert op.get_index("abc", "x") is None
    with pytest.raises(ScriptError, match="boolean has no elements"):
        op.get_index(False, 0.0)


@given(
    st.text(alphabet="abcdef", max_size=8),
    st.none() | st.integers(-10, 10),
    st.none() | st.integers(-10, 10),
    st.none() | st.integers(-3, 3).filter(bool),
)
def test_slices_are_pythons(subject: str, first: int | None, last: int | None, step: int | None) -> None:
    run = Meter()
    bounds = [None if b is None else float(b) for b in (first, last, step)]
    assert op.get_slice(run, subject, *bounds) == subject[first:last:step]
    assert list(op.get_slice(run, Array.of(subject), *bounds).values()) == list(subject[first:last:step])


def test_slices(run: Meter) -> None:
    assert op.get_slice(run, "abc", 0.0, 100.0) == "abc"
    assert op.get_slice(run, "abc", 0.0, math.inf) == "abc"
    assert op.get_slice(run, None, 0.0, 1.0) is None
    assert text(op.get_slice(run, arr("a", x="b", y="c"), 1.0, None)) == '[0=>"b",1=>"c"]'
    with pytest.raises(ScriptError, match="step"):
        op.get_slice(run, "abc", None, None, 0.0)
    with pytest.raises(ScriptError, match="R126"):
        op.get_slice(run, 5.0, None, None)


def test_slice_assignment(run: Meter) -> None:
    value = arr(1.0, 2.0, 7.0, 5.0)
    kept = value.share()
    assert text(op.set_slice(run, value, 2.0, 3.0, None, arr(3.0, 4.0))) == "[0=>1,1=>2,2=>3,3=>4,4=>5]"
    assert text(kept) == "[0=>1,1=>2,2=>7,3=>5]"
    assert op.set_slice(run, "abcd", 1.0, 3.0, None, "X") == "aXd"
    assert op.unset_slice(run, value, 1.0, 3.0) is True
    assert text(value) == "[0=>1,1=>4,2=>5]"
    assert op.unset_slice(run, value, 7.0, 9.0) is False


def test_a_shared_inner_array_is_copied_on_write(run: Meter) -> None:
    inner = arr(1.0)
    outer = arr(inner)
    copy = outer.share()
    op.unshare(run, copy)
    copy.items[0].append(2.0)
    assert text(outer) == "[0=>[0=>1]]"
    assert text(copy) == "[0=>[0=>1,1=>2]]"


def test_large_copies_are_charged(run: Meter) -> None:
    value = Array.of([1.0] * 100_000)
    copy = value.share()
    op.unshare(run, copy)
    assert run.units >= 5_000
    assert run.bytes >= 5_000_000
    assert len(copy) == 100_000


def test_long_slices_and_texts_are_whole(run: Meter) -> None:
    subject = "abcdefg" * 100_000
    assert op.get_slice(run, subject, None, None, -1.0) == subject[::-1]
    assert op.get_slice(run, subject, 5.0, None, 2.0) == subject[5::2]
    quoted = 'a"\\' * 100_000
    assert op.to_echo(run, arr(quoted)) == '[0=>"' + quoted.replace("\\", "\\\\").replace('"', '\\"') + '"]'
    assert op.to_number("1" * 100_000) == 0.0
