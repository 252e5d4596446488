"""How builtins are declared: a decorator on a function, its signature in HSL text.

In: Python functions and signature texts. Out: `Builtin` rows, gathered in `Topic` lists that others walk.
The signature is parsed at import and matched against the Python parameters; callers check argument counts and types
from it, so that a body never does. A function whose first parameter is named `call` gets the run (`run.Run`) there.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, TypeVar

from hslpy.records import dataclass

F = TypeVar("F", bound=Callable[..., Any])

# The type names a signature may use; class names are capitalised. `terminates` is a return type only.
TYPE_NAMES = ("any", "none", "boolean", "number", "string", "array", "function", "object", "resource", "Regex")
KINDS = ("function", "class", "method", "static method", "constant")


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
    """A parsed signature. `returns` are HSL type names, or `terminates` when the call never returns (a verdict)."""

    name: str
    parameters: tuple[Parameter, ...]
    returns: tuple[str, ...]
    text: str

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

    What else the compiler may count on: `whole`, a number it gives has no fraction; `elements`, the types of the elements
    of an array it gives, or `name[]` for those of the array in a parameter; `inline`, Python expressions over the
    parameter that may stand for a call with one argument, by that argument's type, under "" for any that fits. `...` in
    one is the call itself; it names nothing but `float`, `len` and the like, and costs next to nothing or leaves what
    does to the call.
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
    whole: bool = False
    elements: tuple[str, ...] = ()
    inline: Mapping[str, str] = field(default_factory=dict, hash=False)

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
        whole: bool = False,
        elements: Sequence[str] = (),
        inline: Mapping[str, str] | None = None,
    ) -> Callable[[F], F]:
        """Declare the decorated function under `signature`. Raises ValueError when the two don't match."""
        if kind not in KINDS:
            raise ValueError(f"unknown kind {kind!r} in {signature!r}")
        parsed = parse_signature(signature)

        def declare(function: F) -> F:
            takes_call = _match(parsed, function, has_this=kind == "method")
            doc = inspect.cleandoc(function.__doc__ or "")
            self.rows.append(
                Builtin(
                    parsed,
                    function,
                    effect,
                    since,
                    tuple(examples),
                    self.name,
                    doc,
                    tuple(hooks) if hooks is not None else None,
                    kind,
                    owner,
                    takes_call,
                    deprecated,
                    whole,
                    tuple(elements),
                    inline or {},
                )
            )
            return function

        return declare


_TOKEN = re.compile(r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<arrow>->)|(?P<dots>\.\.\.)|(?P<mark>[(),\[\]:|=]))")
_DEFAULT = re.compile(r"\s*(\"[^\"]*\"|\[\]|[^\s,\])]+)")


class _SignatureParser:
    """Reads `name(a: string, [b: number | none = 3], ...c: any) -> array`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.looked_at = -1
        self.found: re.Match[str] | None = None

    def fail(self, wanted: str) -> ValueError:
        return ValueError(f"signature {self.text!r}: wanted {wanted} at {self.text[self.at :]!r}")

    def ahead(self) -> re.Match[str] | None:
        if self.looked_at != self.at:
            self.looked_at, self.found = self.at, _TOKEN.match(self.text, self.at)
        return self.found

    def peek(self) -> str:
        match = self.ahead()
        return match[match.lastindex or 0] if match else ""

    def take(self, wanted: str | None = None) -> str:
        match = self.ahead()
        if match is None or (match["name"] is None if wanted is None else self.peek() != wanted):
            raise self.fail(repr(wanted) if wanted else "a name")
        self.at = match.end()
        return match[match.lastindex or 0]

    def skip(self, token: str) -> bool:
        if self.peek() != token:
            return False
        self.take(token)
        return True

    def types(self) -> tuple[str, ...]:
        names = []
        while True:
            name = self.take()
            if name not in TYPE_NAMES and not name[0].isupper() and name != "terminates":
                raise ValueError(f"signature {self.text!r}: unknown type {name!r}")
            names.append(name)
            if not self.skip("|"):
                return tuple(names)

    def parameters(self) -> tuple[Parameter, ...]:
        found: list[Parameter] = []
        depth = 0
        while not self.skip(")"):
            while self.peek() in ("[", ","):
                depth += self.take(self.peek()) == "["
            variadic = self.skip("...")
            name = self.take()
            self.take(":")
            types = self.types()
            optional = depth > 0
            if self.skip("="):
                default = _DEFAULT.match(self.text, self.at)
                if default is None:
                    raise self.fail("a default")
                self.at = default.end()
                optional = True
            while self.skip("]"):
                depth -= 1
            found.append(Parameter(name, types, optional and not variadic, variadic))
            if self.peek() not in (",", "[", ")"):
                raise self.fail("`,` or `)`")
        if depth:
            raise ValueError(f"signature {self.text!r}: brackets don't match")
        return tuple(found)

    def signature(self) -> Signature:
        name = self.take()
        parameters = self.parameters() if self.skip("(") else ()
        self.take("->")
        returns = self.types()
        if self.text[self.at :].strip():
            raise self.fail("the end")
        return Signature(name, parameters, returns, self.text)


def parse_signature(text: str) -> Signature:
    """Give the signature written in `text`. Raises ValueError when it isn't one."""
    signature = _SignatureParser(text).signature()
    seen_optional = False
    for parameter in signature.parameters:
        if seen_optional and not (parameter.optional or parameter.variadic):
            raise ValueError(f"signature {text!r}: `{parameter.name}` must be optional too")
        seen_optional = seen_optional or parameter.optional
    if any(p.variadic for p in signature.parameters[:-1]):
        raise ValueError(f"signature {text!r}: a variadic parameter must be the last")
    return signature


def _match(signature: Signature, function: Callable[..., Any], has_this: bool) -> bool:
    """Check that `function` takes what the signature says, and say whether it wants the run (`call`).

    A Python name may end in `_` where the plain one is a keyword or a builtin.
    """
    code = function.__code__  # 20 times as quick to read as inspect.signature() is, for 400 functions at every start
    given = list(code.co_varnames[: code.co_argcount])
    plain = given[: len(given) - len(function.__defaults__ or ())]
    variadic = code.co_varnames[code.co_argcount + code.co_kwonlyargcount] if code.co_flags & inspect.CO_VARARGS else None
    if code.co_kwonlyargcount:
        raise ValueError(f"{signature.text!r}: the Python function has parameters that go by name")
    takes_call = given[:1] == ["call"]
    given = given[1:] if takes_call else given
    if has_this:
        if given[:1] != ["this"]:
            raise ValueError(f"{signature.text!r}: a method's Python function takes `this`")
        given = given[1:]
    wanted = signature.parameters
    names = given if variadic is None else [*given, variadic]
    if [name.rstrip("_") for name in names] != [p.name.rstrip("_") for p in wanted]:
        raise ValueError(f"{signature.text!r}: Python parameters are {names}")
    for name, parameter in zip(names, wanted, strict=True):
        if (name == variadic) != parameter.variadic:
            raise ValueError(f"{signature.text!r}: `{parameter.name}` differs in being variadic")
        if not parameter.variadic and (name not in plain) != parameter.optional:
            raise ValueError(f"{signature.text!r}: `{parameter.name}` differs in being optional")
    return takes_call
