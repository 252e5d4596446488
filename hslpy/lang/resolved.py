"""The resolved program: a tree of its own, every name bound to what it means. In: nothing. Out: the classes.

`resolve.py` makes it from syntax nodes, `check.py` and `compile/` read it. It holds no syntax nodes but their spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from hslpy.lang.declare import Builtin
from hslpy.lang.predefined import Predefined
from hslpy.lang.source import Span
from hslpy.records import dataclass

# ---- what names are bound to ------------------------------------------------------------------------


@dataclass(eq=False, slots=True)
class Var:
    """One variable. `owner` is the Unit whose call holds it; `is_captured` says that other units use it too.

    `is_probed`: its being unset is asked for (`isset`, `??`, `unset`, a write that may create it). `is_altered`: an array
    in it is changed in place; `read_at` where it is first read. The flags are the resolver's; `compile` reads them.
    """

    id: int
    name: str
    owner: Unit
    is_param: bool = False
    is_captured: bool = False
    is_assigned: bool = False
    is_unset: bool = False
    is_probed: bool = False
    is_altered: bool = False
    read_at: Span | None = None


@dataclass(eq=False, slots=True)
class Unit:
    """One HSL function, or the top level of a module (`kind` is `module`).

    `variables` are its own by HSL name; `captures` the names bound to variables of others; `parent` the unit it is
    written in. `class_def` is the class whose private members it may use. `outer` is the unit its Python function is
    nested in: the parent where it captures variables of the parent, else None.
    """

    id: int
    kind: str  # module, function, method, constructor
    name: str | None
    span: Span
    module: Module
    parent: Unit | None = None
    class_def: ClassDef | None = None
    params: list[ParamDef] = field(default_factory=list)
    is_old_form: bool = False
    this: Var | None = None
    variables: dict[str, Var] = field(default_factory=dict)
    foreign: dict[str, Var | Fact] = field(default_factory=dict)
    functions: dict[str, Symbol] = field(default_factory=dict)
    body: tuple[Stmt, ...] = ()
    uses: set[Var] = field(default_factory=set)
    is_nested: bool = False
    is_generator: bool = False
    callees: set[Unit] = field(default_factory=set)

    @property
    def required(self) -> int:
        return 0 if self.is_old_form else sum(1 for p in self.params if p.default is None and not p.is_variadic)

    @property
    def order(self) -> int:
        """1 for `function ($a, $b) { return $a < $b; }`, -1 with `>`, 0 for anything else. Source: `HslFunction.order`."""
        match self.body:
            case (Return(value=BinaryOp(op="<" | ">" as op, left=Read(var=left), right=Read(var=right))),):
                given = [param.var for param in self.params if param.default is None and not param.is_variadic]
                if given in ([left, right], [right, left]) and left is not right:
                    return 1 if (op == "<") == (given[0] is left) else -1
        return 0

    @property
    def maximum(self) -> int | None:
        return None if self.is_old_form or any(p.is_variadic for p in self.params) else len(self.params)


@dataclass(frozen=True, slots=True)
class ParamDef:
    var: Var
    default: Expr | None
    is_variadic: bool


@dataclass(eq=False, slots=True)
class MemberDef:
    """A field (`value`), a method (`unit`) or a static variable (`var` with `value`)."""

    name: str
    span: Span
    unit: Unit | None = None
    var: Var | None = None
    value: Expr | None = None
    is_private: bool = False
    is_static: bool = False
    is_readonly: bool = False


@dataclass(eq=False, slots=True)
class ClassDef:
    id: int
    name: str
    span: Span
    module: Module
    members: dict[str, MemberDef] = field(default_factory=dict)
    statics: dict[str, MemberDef] = field(default_factory=dict)
    constructor: Unit | None = None

    @property
    def required(self) -> int:
        return self.constructor.required if self.constructor else 0

    @property
    def maximum(self) -> int | None:
        return self.constructor.maximum if self.constructor else 0


@dataclass(eq=False, slots=True)
class Module:
    """One file in its own global scope, with all it includes."""

    path: str
    unit: Unit = field(init=False)
    namespaces: dict[str, Module] = field(default_factory=dict)
    imports: dict[int, Module] = field(default_factory=dict)  # by the identity of the statement
    builtins: dict[str, str] = field(default_factory=dict)  # builtins imported under names of their own
    is_done: bool = False


Symbol = Unit | ClassDef


@dataclass(frozen=True, slots=True)
class Resolution:
    """The whole program: the main module first run, all units and classes, static members, and what is used."""

    main: Module
    units: Sequence[Unit]
    classes: Sequence[ClassDef]
    facts: frozenset[str]
    builtins: frozenset[str]


# ---- expressions ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    span: Span


class Expr(Node):
    __slots__ = ()


class Stmt(Node):
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Const(Expr):
    value: float | str | bool | None


@dataclass(frozen=True, slots=True)
class RegexConst(Expr):
    pattern: str
    modifiers: str


@dataclass(frozen=True, slots=True)
class Text(Expr):
    """Parts put together as text: a chain of `.` or an interpolated string."""

    parts: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Read(Expr):
    var: Var


@dataclass(frozen=True, slots=True)
class Fact(Expr):
    """A predefined variable."""

    name: str
    predefined: Predefined


@dataclass(frozen=True, slots=True)
class FunctionValue(Expr):
    """A function, named or not, or a class, as a value."""

    symbol: Symbol


@dataclass(frozen=True, slots=True)
class BuiltinValue(Expr):
    row: Builtin


@dataclass(frozen=True, slots=True)
class Item(Node):
    key: Expr | None
    value: Expr
    spread: bool


@dataclass(frozen=True, slots=True)
class ArrayNew(Expr):
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class UnaryOp(Expr):
    op: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class BinaryOp(Expr):
    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Logic(Expr):
    """`and` or `or` over two or more operands."""

    op: str
    operands: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Coalesce(Expr):
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Conditional(Expr):
    condition: Expr
    then: Expr | None
    otherwise: Expr


@dataclass(frozen=True, slots=True)
class Element(Expr):
    """`base[key]`; `key` None appends. `class_def` is the class whose private members may be touched."""

    base: Expr
    key: Expr | None
    class_def: ClassDef | None


@dataclass(frozen=True, slots=True)
class Convert(Expr):
    """A value as an older profile has it. `to` is `numbers` (booleans become 1 and 0) or `text` (none becomes "")."""

    to: str
    value: Expr


@dataclass(frozen=True, slots=True)
class SlicePart(Expr):
    base: Expr
    first: Expr | None
    last: Expr | None
    step: Expr | None


@dataclass(frozen=True, slots=True)
class Place(Node):
    """One place of a destructuring; `default` for a missing item."""

    key: Expr
    target: Expr
    default: Expr | None
    is_rest: bool


@dataclass(frozen=True, slots=True)
class Places(Expr):
    """A destructuring target."""

    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class AssignTo(Expr):
    """`target op value`; `op` is None for a plain assignment, else the binary operator. Targets: Read, Fact, Element,
    SlicePart, Places."""

    op: str | None
    target: Expr
    value: Expr


@dataclass(frozen=True, slots=True)
class Step(Expr):
    """`++` and `--`: `by` is 1 or -1."""

    by: float
    target: Expr
    prefix: bool


@dataclass(frozen=True, slots=True)
class Arg(Node):
    value: Expr
    spread: bool


@dataclass(frozen=True, slots=True)
class CallUnit(Expr):
    """A call of a known function, static method or class."""

    symbol: Symbol
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class CallBuiltin(Expr):
    row: Builtin
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class CallValue(Expr):
    function: Expr
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class CallMember(Expr):
    """`base->name(args)` and `base["name"](args)`."""

    base: Expr
    key: Expr
    args: tuple[Arg, ...]
    class_def: ClassDef | None
    in_numbers: bool = False  # booleans are numbers to the caller


@dataclass(frozen=True, slots=True)
class Cached(Expr):
    """`cache options call`."""

    options: Expr
    call: Expr


@dataclass(frozen=True, slots=True)
class DataOf(Expr):
    """The value of a data file: its kind, its path, and the options as pairs of constants."""

    kind: str
    path: str
    options: tuple[tuple[object, object], ...]


@dataclass(frozen=True, slots=True)
class ObjectNew(Expr):
    """`object [...]`: functions written in it are methods of the object, of kind `method` without a class."""

    items: ArrayNew


@dataclass(frozen=True, slots=True)
class IssetOf(Expr):
    target: Expr


@dataclass(frozen=True, slots=True)
class UnsetOf(Expr):
    target: Expr


@dataclass(frozen=True, slots=True)
class YieldOf(Expr):
    """`yield value`: gives a value to who goes over the generator; its own value is none."""

    value: Expr | None


@dataclass(frozen=True, slots=True)
class Arm(Node):
    """`candidates => value` of a `match`; `candidates` is None in the default arm."""

    candidates: tuple[Expr, ...] | None
    value: Expr


@dataclass(frozen=True, slots=True)
class Match(Expr):
    subject: Expr
    arms: tuple[Arm, ...]


@dataclass(frozen=True, slots=True)
class Held(Expr):
    """A value that compiled code holds in a temporary of this name; `types` are its types as bits. Made by `compile`."""

    name: str
    types: int


@dataclass(frozen=True, slots=True)
class Bad(Expr):
    """Stands where an error was diagnosed; never compiled."""


# ---- statements -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Do(Stmt):
    value: Expr


@dataclass(frozen=True, slots=True)
class Echo(Stmt):
    value: Expr


@dataclass(frozen=True, slots=True)
class If(Stmt):
    branches: tuple[tuple[Expr, tuple[Stmt, ...]], ...]
    otherwise: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Loop(Stmt):
    """`while`, `forever` and `for`: `start` before, `step` after each round."""

    start: tuple[Expr, ...]
    condition: Expr | None
    step: tuple[Expr, ...]
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Foreach(Stmt):
    subject: Expr
    key: Expr | None
    value: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Case(Node):
    test: Expr | None  # None: default
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Switch(Stmt):
    subject: Expr
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Break(Stmt):
    """`break`; `outside` when no loop or switch holds it: it ends the function."""

    outside: bool


@dataclass(frozen=True, slots=True)
class Continue(Stmt):
    outside: bool


@dataclass(frozen=True, slots=True)
class Return(Stmt):
    value: Expr | None


@dataclass(frozen=True, slots=True)
class Try(Stmt):
    body: tuple[Stmt, ...]
    variable: Expr
    handler: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class BarrierOf(Stmt):
    """`barrier name [=> variable] { }`."""

    name: Expr
    variable: Read | Fact | None
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Throw(Stmt):
    value: Expr


@dataclass(frozen=True, slots=True)
class RunModule(Stmt):
    """The first import of a module: its top level runs here."""

    module: Module
