"""Dataclasses that cost little where they are declared, and those that cost little to make. In: a class. Out: it.

`dataclass` is the standard library's, to the reader and to the type checker. That one writes the text of each method and
has it compiled, 0.3 ms a class, at every start and for some hundred classes; here each method is written when it is first
called, and most never are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, field, fields
from functools import partial
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls=None, /, **options):
        """Make a class a dataclass. `options`: `frozen`, `eq`, `unsafe_hash`, `slots`, `weakref_slot`."""
        return _made(cls, **options) if cls is not None else lambda cls: _made(cls, **options)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make a dataclass with slots that the type checker holds to be frozen, for what is made many times a message.

    One that is frozen at run time takes three times as long to make, as each of its fields is set by a call.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


def _made(cls: type[T], *, frozen: bool = False, eq: bool = True, unsafe_hash: bool = False, **options: bool) -> type[T]:
    own = vars(cls)
    if cls.__doc__ is None:
        cls.__doc__ = cls.__name__  # else a text of its signature is made
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, **options)(cls)
    methods: dict[str, Any] = {"__init__": _when_called(made, "__init__", partial(_init, frozen)), "__repr__": _repr}
    if eq:
        methods["__eq__"] = _when_called(made, "__eq__", _eq)
    if unsafe_hash or (eq and frozen):
        methods["__hash__"] = _when_called(made, "__hash__", _hash)
    elif eq:
        methods["__hash__"] = None
    if frozen:
        methods |= {"__setattr__": _refuse, "__delattr__": _refuse, "__getstate__": _state, "__setstate__": _take_state}
    for name, method in methods.items():
        if own.get(name) is None:  # Python itself puts None for the hash where only __eq__ is written
            setattr(made, name, method)
    return made  # type: ignore[no-any-return]


def _when_called(cls: type, name: str, write: Callable[[type, dict[str, Any]], str]) -> Callable[..., Any]:
    """Give a method that, when it is first called, has the real one compiled and puts it in its own place.

    `write` gives the text, and adds to the names that it needs.
    """

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        names: dict[str, Any] = {}
        exec(write(cls, names), names)
        real = names[name]
        real.__qualname__ = f"{cls.__qualname__}.{name}"  # what an error of its arguments names
        setattr(cls, name, real)
        return real(self, *args, **kwargs)

    return method


def _init(frozen: bool, cls: type[Any], names: dict[str, Any]) -> str:
    names |= {"_put_": object.__setattr__, "_absent_": MISSING}
    places: list[str] = []
    by_name: list[str] = []
    body: list[str] = []
    for one in fields(cls):
        value, default = one.name, ""
        if one.default_factory is not MISSING:
            names[f"_make_{one.name}"] = one.default_factory
            value = f"_make_{one.name}()" + (f" if {one.name} is _absent_ else {one.name}" if one.init else "")
            default = "=_absent_"
        elif one.default is not MISSING:
            names[f"_default_{one.name}"] = one.default
            value = one.name if one.init else f"_default_{one.name}"
            default = f"=_default_{one.name}"
        elif not one.init:
            continue
        if one.init:
            (by_name if one.kw_only else places).append(one.name + default)
        body.append(f"_put_(self, {one.name!r}, {value})" if frozen else f"self.{one.name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    head = ", ".join(["self", *places, *(["*", *by_name] if by_name else [])])
    return f"def __init__({head}):\n " + "\n ".join(body or ["pass"])


def _eq(cls: type[Any], names: dict[str, Any]) -> str:
    ours, theirs = ("".join(f"{whose}.{one.name}, " for one in fields(cls) if one.compare) for whose in ("self", "other"))
    return (
        f"def __eq__(self, other):\n return ({ours}) == ({theirs}) if other.__class__ is self.__class__ else NotImplemented"
    )


def _hash(cls: type[Any], names: dict[str, Any]) -> str:
    wanted = (one.name for one in fields(cls) if (one.compare if one.hash is None else one.hash))
    return f"def __hash__(self):\n return hash(({''.join(f'self.{name}, ' for name in wanted)}))"


@recursive_repr()
def _repr(self: Any) -> str:
    shown = (f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse(self: Any, name: str, value: object = None) -> None:
    raise FrozenInstanceError(f"cannot set or delete {name!r}")


def _state(self: Any) -> list[Any]:
    """Give what a pickle or a copy holds."""
    return [getattr(self, one.name) for one in fields(self)]


def _take_state(self: Any, state: list[Any]) -> None:
    for one, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, one.name, value)
