"""Our dataclasses beside the standard library's: the same classes declared by both do the same."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, field
from functools import partial
from typing import Any

import pytest

from hslpy import records


def declared(dataclass: Any) -> Iterator[tuple[type, list[tuple[tuple[Any, ...], dict[str, Any]]]]]:
    """Give classes, and arguments for each: right ones and wrong ones."""

    @dataclass
    class Plain:
        a: int
        b: str = "b"

    @dataclass(frozen=True, slots=True)
    class Frozen:
        a: int
        made: list[int] = field(default_factory=lambda: [1], hash=False)
        shown: str = field(default="x", repr=False)
        other: float = field(default=1.0, compare=False)

    @dataclass(frozen=True, slots=True)
    class One:
        a: Any

    @dataclass(slots=True)
    class Nothing:
        pass

    @dataclass(slots=True, unsafe_hash=True)
    class Derived:
        first: int
        late: int = field(init=False, default=7)
        own: dict[str, int] = field(init=False, default_factory=dict, hash=False)
        unset: int = field(init=False, repr=False, compare=False)
        named: int = field(kw_only=True)
        absent: int = field(default=3, kw_only=True)

        def __post_init__(self) -> None:
            self.first += 1

    @dataclass(eq=False, slots=True)
    class Itself:
        a: int = 0

    @dataclass(frozen=True)
    class Own:
        a: int

        def __eq__(self, other: object) -> bool:
            return True

        def __repr__(self) -> str:
            return f"own {self.a}"

        def __hash__(self) -> int:
            return 5

    @dataclass(frozen=True, slots=True)
    class Base:
        a: int

    @dataclass(frozen=True, slots=True)
    class Child(Base):
        b: int = 2

    wrong: list[tuple[tuple[Any, ...], dict[str, Any]]] = [((), {}), ((1, 2, 3, 4, 5, 6), {}), ((), {"no": 1})]
    yield Plain, [((1,), {}), ((1, "c"), {}), ((), {"b": "c", "a": 1}), *wrong]
    yield Frozen, [((1,), {}), ((1, [1]), {}), ((1, [2], "y"), {"other": 2.0}), ((1,), {"other": 2.0}), *wrong]
    yield One, [((None,), {}), ((1,), {}), (([],), {}), *wrong]
    yield Nothing, wrong
    yield Derived, [((1,), {"named": 2}), ((1,), {"named": 2, "absent": 4}), ((1, 2), {}), *wrong]
    yield Itself, [((1,), {}), *wrong]
    yield Own, [((1,), {}), ((2,), {}), *wrong]
    yield Child, [((1,), {}), ((1, 2), {}), ((1, 3), {}), *wrong]


def outcome(do: Callable[[], Any]) -> object:
    try:
        return do()
    except (TypeError, AttributeError) as error:
        return type(error), str(error)


def test_classes_do_what_those_of_the_standard_library_do() -> None:
    for (ours, arguments), (theirs, _) in zip(declared(records.dataclass), declared(dataclasses.dataclass), strict=True):
        made = []
        for args, options in arguments:
            found = [outcome(partial(cls, *args, **options)) for cls in (ours, theirs)]
            if isinstance(found[1], tuple):
                assert found[0] == found[1]
                continue
            made.append(found)
            assert repr(found[0]) == repr(found[1])
            hashes = [outcome(lambda one=one: (hash(one), None)[1]) for one in found]
            assert hashes[0] == hashes[1]
            for name in ("a", "first", "unknown"):
                changes = [outcome(partial(setattr, copy.copy(one), name, 9)) for one in found]
                assert (changes[0] is None) == (changes[1] is None), (ours, name)
        assert ours.__match_args__ == theirs.__match_args__
        for one in made:
            for other in made:
                assert (one[0] == other[0]) == (one[1] == other[1])


@records.dataclass(frozen=True, slots=True)
class Kept:
    name: str
    parts: tuple[int, ...] = ()


def test_a_frozen_one_is_pickled_copied_and_replaced() -> None:
    kept = Kept("a", (1, 2))
    assert pickle.loads(pickle.dumps(kept)) == copy.deepcopy(kept) == copy.copy(kept) == kept
    assert dataclasses.replace(kept, name="b") == Kept("b", (1, 2)) != kept
    assert len({kept, Kept("a", (1, 2)), Kept("b")}) == 2
    with pytest.raises(FrozenInstanceError):
        kept.name = "b"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del kept.name


def test_one_that_holds_itself_is_shown() -> None:
    @records.dataclass
    class Loop:
        inner: list[Any] = field(default_factory=list)

    loop = Loop()
    loop.inner.append(loop)
    assert repr(loop).endswith("Loop(inner=[...])")


def test_the_first_may_be_made_in_a_subclass_that_has_an_init_of_its_own() -> None:
    @records.dataclass(slots=True)
    class Base:
        a: int

    class Child(Base):
        def __init__(self) -> None:
            super().__init__(1)
            super().__init__(2)

    assert Child().a == 2 and Base(3).a == 3
