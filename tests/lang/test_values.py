"""Arrays: value semantics over shared dicts, automatic keys, equality."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hslpy.lang.growth import TextBuilder, array_of
from hslpy.lang.operators import to_echo, unshare
from hslpy.lang.run import BoundBuiltin
from hslpy.lang.values import Array, HslFunction, HslObject, Regex, Resource, own, type_name


def test_a_copy_sees_no_later_writes() -> None:
    first = Array.of([1.0, Array.of([2.0])])
    second = first.share()
    second.set(0, 9.0)
    second.unshare()[1].append(3.0)
    assert to_echo(None, first) == "[0=>1,1=>[0=>2]]"
    assert to_echo(None, second) == "[0=>9,1=>[0=>2,1=>3]]"
    first.append(4.0)
    assert len(second) == 2


def test_automatic_keys_follow_the_highest() -> None:
    array = Array.of(["foo"])
    array.set(3, "bar")
    array.append("baz")
    assert list(array.items) == [0, 3, 4]
    array.set(-5, "x")
    array.append("y")
    assert list(array.items) == [0, 3, 4, -5, 5]
    negative = Array({}, 0)
    negative.set(-3, "a")
    negative.append("b")
    assert list(negative.items) == [-3, 0]


def test_equality_is_ordered_and_strict() -> None:
    assert Array.of([1.0]) == Array.of([1.0])
    assert Array.of([1.0]) != Array.of([True])
    assert Array.mapping({"a": 1.0, "b": 2.0}) != Array.mapping({"b": 2.0, "a": 1.0})


def test_own_shares_arrays_only() -> None:
    array = Array.of([1.0])
    owned = own(array)
    assert owned is not array
    assert owned.items is array.items
    assert own("text") == "text"


def test_type_names() -> None:
    values = [
        None,
        True,
        1.0,
        "",
        Array({}, 0),
        HslFunction(len, None, 0, 0),
        HslObject("File"),
        Resource("X", None),
        Regex("", ""),
    ]
    names = ["none", "boolean", "number", "string", "array", "function", "object", "resource", "Regex"]
    assert [type_name(value) for value in values] == names
    assert type_name(BoundBuiltin.__new__(BoundBuiltin)) == "function"


def test_long_texts_and_arrays_are_built_whole() -> None:
    class Books:
        charged = reserved = 0

        def charge(self, units: int) -> None:
            self.charged += units

        def reserve(self, size_bytes: int) -> None:
            self.reserved += size_bytes

        reserve_text = reserve

    books = Books()
    text = TextBuilder(books)
    for number in range(5000):
        text.add(str(number) * 20)
    assert text.text() == "".join(str(number) * 20 for number in range(5000))
    assert books.reserved > 300_000
    assert books.charged > 1000
    values = [float(number) for number in range(20_001)]
    array = array_of(books, values)
    assert list(array.items) == list(range(20_001))
    assert list(array.values()) == values
    assert array.next_index == 20_001


class Copies(RuleBasedStateMachine):
    """Arrays that share dicts behave as deep copies do."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[Array, list[object]]] = [(Array({}, 0), [])]

    @rule(which=st.integers(0, 50), value=st.integers(0, 9))
    def append(self, which: int, value: int) -> None:
        array, model = self.pairs[which % len(self.pairs)]
        array.append(float(value))
        model.append(float(value))

    @rule(which=st.integers(0, 50))
    def copy(self, which: int) -> None:
        array, model = self.pairs[which % len(self.pairs)]
        if len(self.pairs) < 8:
            self.pairs.append((array.share(), _deep(model)))

    @rule(which=st.integers(0, 50), other=st.integers(0, 50))
    def nest(self, which: int, other: int) -> None:
        array, model = self.pairs[which % len(self.pairs)]
        inner, inner_model = self.pairs[other % len(self.pairs)]
        if _size(model) + _size(inner_model) < 60:
            element, element_model = own(inner), _deep(inner_model)
            array.append(element)
            model.append(element_model)

    @rule(which=st.integers(0, 50), value=st.integers(0, 9))
    def write_inside(self, which: int, value: int) -> None:
        array, model = self.pairs[which % len(self.pairs)]
        for position, element in enumerate(model):
            if isinstance(element, list):
                unshare(None, array)[position].append(float(value))
                element.append(float(value))
                break

    @invariant()
    def arrays_are_as_their_models(self) -> None:
        for array, model in self.pairs:
            assert _plain(array) == model


def _deep(model: object) -> list[object]:
    assert isinstance(model, list)
    return [_deep(item) if isinstance(item, list) else item for item in model]


def _size(model: list[object]) -> int:
    return sum(_size(item) if isinstance(item, list) else 1 for item in model) + 1


def _plain(array: Array) -> list[object]:
    return [_plain(value) if isinstance(value, Array) else value for value in array.values()]


TestCopies = Copies.TestCase
