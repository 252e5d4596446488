"""Dataclasses that nothing changes, made many times a message. In: a class. Out: it, as a dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make a dataclass with slots that the type checker holds to be frozen.

    One that is frozen at run time takes three times as long to make, as each of its fields is set by a call.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
