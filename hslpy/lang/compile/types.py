"""What types the variables and expressions of a program can have, told without running it.

In: what `infer.py` found of variables. Out: `Types`, sets of types as bits. A variable's type is the union over all its
assignments, wherever they stand, so that the answer needs no order; being without a value is not a type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, fields

from hslpy.lang import resolved as r
from hslpy.lang.conversions import normalise_key
from hslpy.records import dataclass

NONE, BOOL, INT, FRACTION, STR, ARR, FUN, OBJ, OTHER = (1 << n for n in range(9))
NUMBER = INT | FRACTION  # INT: a number without a fraction, or an infinity
ANY = (1 << 9) - 1

_BY_NAME = {
    "any": ANY,
    "none": NONE,
    "boolean": BOOL,
    "number": NUMBER,
    "string": STR,
    "array": ARR,
    "function": FUN,
    "object": OBJ,
    "resource": OTHER,
    "Regex": OTHER,
    "terminates": NONE,
}
EXACT = frozenset({"none", "boolean", "number", "string", "array", "function", "object", "resource", "Regex"})


def of_names(names: Iterable[str]) -> int:
    """Give the bits of HSL type names; other names are of classes and of resources."""
    bits = 0
    for name in names:
        bits |= _BY_NAME.get(name, OBJ | OTHER)
    return bits


def walk(nodes: Iterable[object]) -> Iterator[r.Node]:
    """Give all nodes in and under `nodes`, without recursion, in no particular order."""
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, r.Node):
            yield node
            for name in _node_fields(type(node)):
                value = getattr(node, name)
                if isinstance(value, tuple):
                    todo.extend(value)
                elif isinstance(value, r.Node):
                    todo.append(value)
        elif isinstance(node, tuple):
            todo.extend(node)


_FIELDS: dict[type, tuple[str, ...]] = {}


def _node_fields(kind: type[r.Node]) -> tuple[str, ...]:
    names = _FIELDS.get(kind)
    if names is None:
        names = _FIELDS[kind] = tuple(f.name for f in fields(kind) if f.name != "span")
    return names


@dataclass(frozen=True, slots=True)
class KeyOf:
    """Something known of a variable: the key that its text stands for is in a Python variable."""

    var: r.Var


@dataclass(frozen=True, slots=True)
class HasKey:
    """Something known of two variables: the array in `base` has an element under the text in `key`."""

    base: r.Var
    key: r.Var


# What is known at one place of a unit: the variables that surely have a value, and its types where they are fewer than
# those that the variable ever has; the variables whose keys are at hand, and elements that surely are there.
Flow = dict[r.Var | KeyOf | HasKey, int | None]


def forget(flow: Flow, var: r.Var) -> None:
    """Take out what is known of a variable beside its types, since it changes."""
    flow.pop(KeyOf(var), None)
    for known in [x for x in flow if x.__class__ is HasKey and var in (x.base, x.key)]:
        del flow[known]


def meet(flows: Sequence[Flow]) -> Flow:
    """Give what is known where several ways come together."""
    first, *others = flows
    met: Flow = {}
    for var, bits in first.items():
        for other in others:
            if var not in other:
                break
            more = other[var]
            bits = None if bits is None or more is None else bits | more
        else:
            met[var] = bits
    return met


def changed_by(nodes: Iterable[object]) -> Iterator[tuple[r.Var, bool]]:
    """Give the variables that the nodes may assign, and whether no more than elements of theirs are assigned."""
    for node in walk(nodes):
        is_write = isinstance(node, (r.AssignTo, r.Step))
        targets: list[r.Expr | None] = []
        if isinstance(node, (r.AssignTo, r.Step, r.UnsetOf, r.Place)):
            targets.append(node.target)
        elif isinstance(node, r.Foreach):
            targets += [node.key, node.value]
        elif isinstance(node, (r.Try, r.BarrierOf)):
            targets.append(node.variable)
        for target in targets:
            adds = is_write and isinstance(target, r.Element)
            while isinstance(target, (r.Element, r.SlicePart)):
                adds = adds and isinstance(target, r.Element)
                target = target.base
            if isinstance(target, r.Read):
                yield target.var, adds


@dataclass(slots=True)
class Types:
    """Answers by variable, unit and expression; `flow` is what is known at the place being compiled."""

    variables: dict[r.Var, int] = field(default_factory=dict)
    elements: dict[r.Var | r.Unit, int] = field(default_factory=dict)  # of the arrays that a variable or return can be
    constants: set[r.Var] = field(default_factory=set)  # may hold an array that all runs share; nothing alters it
    returns: dict[r.Unit, int] = field(default_factory=dict)
    flow: Flow = field(default_factory=dict)

    def of(self, node: r.Expr) -> int:
        """Give the types that the value of an expression can have."""
        if isinstance(node, r.Const):
            return _of_constant(node.value)
        if isinstance(node, r.Read):
            found = self.flow.get(node.var)
            return found if found is not None else self.variables.get(node.var, 0)
        if isinstance(node, r.Text):
            return STR
        if isinstance(node, r.BinaryOp):
            return self._of_chain(node)
        match node:
            case r.ArrayNew():
                return ARR
            case r.Logic() | r.IssetOf() | r.UnsetOf():
                return BOOL
            case r.UnaryOp():
                return (
                    BOOL
                    if node.op in ("!", "not")
                    else INT
                    if node.op == "~"
                    else NUMBER & (self.of(node.operand) | FRACTION)
                )
            case r.Fact():
                return of_names(node.predefined.types) if not node.predefined.writable else ANY
            case r.FunctionValue() | r.BuiltinValue():
                return FUN
            case r.ObjectNew():
                return OBJ
            case r.RegexConst():
                return OTHER
            case r.Held():
                return node.types
            case r.Convert():
                bits = self.of(node.value)
                gone, come = (BOOL, INT) if node.to == "numbers" else (NONE, STR)
                return (bits & ~gone) | come if bits & gone else bits
            case r.Coalesce():
                return (self.of(node.left) & ~NONE) | self.of(node.right)
            case r.Conditional():
                return self.of(node.then or node.condition) | self.of(node.otherwise)
            case r.YieldOf():
                return NONE
            case r.Match():
                bits = 0
                for arm in node.arms:
                    bits |= self.of(arm.value)
                return bits
            case r.AssignTo():
                return self.assigned(node)
            case r.Step():
                return INT if self.of(node.target) & ~(INT | NONE) == 0 else NUMBER
            case r.CallUnit():
                return OBJ if isinstance(node.symbol, r.ClassDef) else self.returns.get(node.symbol, 0)
            case r.CallBuiltin():
                return self._of_call(node)
            case r.Element():
                return self._of_element(node)
            case r.SlicePart():
                base = self.of(node.base)
                return base & (STR | ARR | NONE) if base & ~(STR | ARR | NONE) == 0 else STR | ARR | NONE
        return ANY

    def _of_call(self, node: r.CallBuiltin) -> int:
        found = of_names(node.row.signature.returns)
        if node.row.whole and found & NUMBER:
            found &= ~FRACTION
        if found & NONE and len(node.args) == 1 and len(node.row.inline) > 1:
            kind = self.of(node.args[0].value)
            if any(kind == of_names([name]) for name in node.row.inline if name):
                found &= ~NONE
        return found

    def _of_element(self, node: r.Element) -> int:
        base = self.of(node.base)
        if base & ~(ARR | STR | NONE):
            return ANY
        found = (self.elements_of(node.base) if base & ARR else 0) | (base & STR)
        return found if self.is_there(node) else found | NONE

    def is_there(self, node: r.Element) -> bool:
        """Say whether an element is known to be there."""
        if not isinstance(node.base, r.Read) or not isinstance(node.key, r.Read):
            return False
        return HasKey(node.base.var, node.key.var) in self.flow

    def elements_of(self, node: r.Expr) -> int:
        """Give the types that the elements of an array which is the value of an expression can have."""
        match node:
            case r.Const():
                return 0
            case r.Read():
                return self.elements.get(node.var, 0)
            case r.ArrayNew():
                bits = 0
                for item in node.items:
                    bits |= self.elements_of(item.value) if item.spread else self.of(item.value)
                return bits
            case r.Conditional():
                return self.elements_of(node.then or node.condition) | self.elements_of(node.otherwise)
            case r.Coalesce():
                return self.elements_of(node.left) | self.elements_of(node.right)
            case r.AssignTo(op=None):
                return self.elements_of(node.value)
            case r.AssignTo(op="+"):
                return self.elements_of(node.target) | self.elements_of(node.value) | self.of(node.value)
            case r.SlicePart():
                return self.elements_of(node.base)
            case r.CallUnit() if isinstance(node.symbol, r.Unit):
                return self.elements.get(node.symbol, 0)
            case r.CallBuiltin() if node.row.elements:
                return self._of_builtin_elements(node)
        return ANY

    def _of_builtin_elements(self, node: r.CallBuiltin) -> int:
        source = node.row.elements[0].removesuffix("[]")
        if source == node.row.elements[0]:
            return of_names(node.row.elements)
        at = [parameter.name for parameter in node.row.signature.parameters].index(source)
        if len(node.args) <= at or any(arg.spread for arg in node.args[: at + 1]):
            return ANY
        return self.elements_of(node.args[at].value)

    def assigned(self, node: r.AssignTo) -> int:
        if node.op is None:
            return self.of(node.value)
        return self.of_operation(node.op, self.of(node.target), self.of(node.value))

    def _of_chain(self, node: r.BinaryOp) -> int:
        links: list[r.BinaryOp] = []
        at: r.Expr = node
        while isinstance(at, r.BinaryOp):
            links.append(at)
            at = at.left
        found = self.of(at)
        for link in reversed(links):
            found = self.of_operation(link.op, found, self.of(link.right))
        return found

    def of_operation(self, op: str, left: int, right: int) -> int:
        """Give the types of the result of a binary operator."""
        if op in _COMPARING:
            return BOOL
        if op in ("&", "|", "^", "<<", ">>", ">>>"):
            return INT
        if op in (".", ".?"):
            return STR
        whole = INT if (left | right) & ~(INT | NONE) == 0 else NUMBER  # none is refused
        if op in ("+", "-"):
            return (ARR if left & ARR or (op == "+" and right & ARR) else 0) | (whole if left & ~ARR else 0)
        if op == "*":
            return whole | ((left | right) & (STR | ARR))
        if op == "%":
            return (STR if left & STR else 0) | (INT if left & ~STR else 0)
        if op == "+?":
            return self.of_operation("+", left, right) | (STR if (left | right) & (STR | NONE) else 0)
        return INT if op == "%?" else NUMBER


_COMPARING = frozenset({"==", "!=", "===", "!==", "<", ">", "<=", ">=", "=~", "!~"})


def _of_constant(value: object) -> int:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, float):
        return INT if value.is_integer() else FRACTION
    return STR


def constant_array(node: r.Expr) -> tuple[object, ...] | None:
    """Give (key, value) pairs of an array literal that is constant throughout, inner arrays as such tuples, or None.

    An empty one isn't worth it: it is there to be filled.
    """
    if not isinstance(node, r.ArrayNew) or not node.items:
        return None
    pairs: dict[int | str, object] = {}
    next_index = 0
    for item in node.items:
        if item.spread or (item.key is not None and (not isinstance(item.key, r.Const) or item.key.value is None)):
            return None
        value = item.value.value if isinstance(item.value, r.Const) else constant_array(item.value)
        if value is None and not isinstance(item.value, r.Const):
            return None
        key = normalise_key(item.key.value) if isinstance(item.key, r.Const) else next_index
        if isinstance(key, int) and key >= next_index:
            next_index = key + 1
        pairs[key] = value
    return tuple(pairs.items())
