"""How builtins are declared: a decorator on a function, its signature in HSL text.

In: Python functions and signature texts. Out: `Builtin` rows, gathered in `Topic` lists that others walk.
The signature is parsed at import and matched against the Python parameters; callers check argument counts and types
from it, so that a body never does. A function whose first parameter is named `call` gets the run (`run.Run`) there.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Effect(enum.Enum):
    """PURE: same arguments, same result, may be folded. READS: reads time, randomness or the message. IO: waits."""

    PURE = "pure"
    READS = "reads"
    IO = "io"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: `types` are HSL type names (`any` stands alone), `optional` those in brackets or with default."""

    name: str
    types: tuple[str, ...]
    optional: bool = False
    variadic: bool = False


@dataclass(frozen=True, slots=True)
class Signature:
    """A parsed signature. `returns` are HSL type names; `terminates` when the call never returns (a verdict)."""

    name: str
    parameters: tuple[Parameter, ...]
    returns: tuple[str, ...]
    text: str

    @property
    def terminates(self) -> bool:
        return self.returns == ("terminates",)

    @property
    def required(self) -> int:
        return sum(1 for p in self.parameters if not p.optional and not p.variadic)

    @property
    def maximum(self) -> int | None:
        return None if any(p.variadic for p in self.parameters) else len(self.parameters)


@dataclass(frozen=True, slots=True)
class Builtin:
    """One row: what scripts call. `hooks` are the contexts where it exists, None for everywhere.

    `kind` is `function`, `class`, `method`, `static method` or `constant`; `owner` the class of a method.
    `takes_call` says that the Python function wants the run as its first argument.
    """

    signature: Signature
    function: Callable[..., Any]
    effect: Effect
    since: str
    examples: tuple[str, ...]
    topic: str
    doc: str
    hooks: tuple[str, ...] | None = None
    kind: str = "function"
    owner: str | None = None
    takes_call: bool = False
    deprecated: str | None = None

    @property
    def name(self) -> str:
        return self.signature.name


class Topic:
    """A list of builtins that belong together, filled by its decorators."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[Builtin] = []

    def builtin(
        self,
        signature: str,
        *,
        effect: Effect,
        since: str = "0.1",
        examples: Sequence[str] = (),
        hooks: Sequence[str] | None = None,
        kind: str = "function",
        owner: str | None = None,
        deprecated: str | None = None,
    ) -> Callable[[F], F]:
        """Declare the decorated function under `signature`. Raises ValueError when the two don't match."""
        raise NotImplementedError
