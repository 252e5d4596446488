"""Finds the types of all variables, of functions' results, and of the elements of the arrays in them.

In: a `Resolution`. Out: `Types`. A parameter's types are those of its arguments where all calls of the function are known,
which is so unless it is used as a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hslpy.lang import resolved as r
from hslpy.lang.compile.types import ANY, ARR, INT, NONE, OBJ, STR, Types, constant_array, walk
from hslpy.records import dataclass

_Place = r.Var | r.Unit


@dataclass(frozen=True, slots=True)
class _Within:
    """The elements, or the keys, of what `foreach` goes over."""

    subject: r.Expr
    is_key: bool = False


@dataclass(frozen=True, slots=True)
class _Event:
    """A place gets a value of such types. `elements`: it is an array that gets an element; only its elements change."""

    place: _Place
    source: r.Expr | _Within | int
    elements: bool = False


def infer(resolution: r.Resolution) -> Types:
    """Find the types of all variables and returns: begin with none and add until nothing changes."""
    types = Types()
    events = list(_all_events(resolution, types))
    changed = True
    while changed:
        changed = False
        for event in events:
            changed |= _apply(types, event)
    return types


def _apply(types: Types, event: _Event) -> bool:
    source = event.source
    elements = 0
    if isinstance(source, int):
        found = source
        if found & ARR:
            elements = ANY
    elif isinstance(source, _Within):
        found = elements = ANY
        if types.of(source.subject) & ~ARR == 0:
            found = STR | INT if source.is_key else types.elements_of(source.subject)
    else:
        found = types.of(source)
        if found & ARR and not event.elements:
            elements = types.elements_of(source)
    place = event.place
    if event.elements:
        return _add(types.elements, place, found)
    changed = _add(types.elements, place, elements)
    if isinstance(place, r.Unit):
        return _add(types.returns, place, found) or changed
    return _add(types.variables, place, found) or changed


def _add(known: dict[_Place, int] | dict[r.Var, int] | dict[r.Unit, int], place: _Place, bits: int) -> bool:
    before = known.get(place, 0)  # type: ignore[arg-type]
    if before | bits == before:
        return False
    known[place] = before | bits  # type: ignore[index]
    return True


def _all_events(resolution: r.Resolution, types: Types) -> Iterator[_Event]:
    values = [m.value for c in resolution.classes for m in (*c.members.values(), *c.statics.values()) if m.value is not None]
    nodes: list[tuple[r.Unit, r.Node]] = [(resolution.main.unit, node) for node in walk(values)]
    for unit in resolution.units:
        nodes.extend((unit, node) for node in walk([*unit.body, *(param.default for param in unit.params)]))
    open_ended = _used_as_values(node for _, node in nodes)
    for unit in resolution.units:
        if unit.this is not None:
            yield _Event(unit.this, OBJ)
        if unit.is_old_form:
            yield _Event(unit.variables["argc"], INT)
            yield _Event(unit.variables["argv"], ARR)
        is_known = unit.kind == "function" and unit not in open_ended
        for param in unit.params:
            if param.is_variadic:
                yield _Event(param.var, ARR)
            elif not is_known:
                yield _Event(param.var, ANY)
            elif param.default is not None:
                yield _Event(param.var, param.default)
        if unit.is_generator:
            yield _Event(unit, OBJ)
        elif not _returns(unit.body):
            yield _Event(unit, NONE)
    for unit, node in nodes:
        yield from _events(unit, node)
        match node:
            case r.AssignTo(op=None, target=r.Read(var=var)) if not var.is_altered and constant_array(node.value):
                types.constants.add(var)
            case r.CallUnit(symbol=r.Unit() as called) if called not in open_ended:
                for param, arg in zip(called.params, node.args, strict=False):
                    if not param.is_variadic:
                        yield _Event(param.var, arg.value)
    for class_def in resolution.classes:
        for member in class_def.statics.values():
            if member.var is not None:
                yield _Event(member.var, member.value if member.value is not None else NONE)


def _returns(body: Sequence[r.Stmt]) -> bool:
    """Say whether the end of a body is never reached, as far as its last statement tells."""
    last = body[-1] if body else None
    if isinstance(last, r.If):
        return all(_returns(branch) for branch in (*(part for _, part in last.branches), last.otherwise))
    return isinstance(last, (r.Return, r.Throw))


def _used_as_values(nodes: Iterable[r.Node]) -> set[r.Symbol]:
    """Give the functions of which not all calls, or not all arguments, are seen."""
    found: set[r.Symbol] = set()
    for node in nodes:
        if isinstance(node, r.FunctionValue) or (isinstance(node, r.CallUnit) and any(arg.spread for arg in node.args)):
            found.add(node.symbol)
    return found


def _events(unit: r.Unit, node: r.Node) -> Iterator[_Event]:
    match node:
        case r.AssignTo(target=r.Read(var=var), op=op, value=value):
            if op is None:
                yield _Event(var, value)
            else:
                yield _Event(var, node)
        case r.AssignTo(target=r.Places() as places):
            for place in walk([places]):
                if isinstance(place, r.Place) and isinstance(place.target, r.Read):
                    yield _Event(place.target.var, ANY)
                elif isinstance(place, r.Place):
                    yield from _created(place.target, ANY)
        case r.AssignTo(target=r.Element() | r.SlicePart()):
            yield from _created(node.target, node)
        case r.Step(target=r.Read(var=var)):
            yield _Event(var, node)
        case r.Step():
            yield from _created(node.target, node)
        case r.Foreach():
            for target, source in ((node.key, _Within(node.subject, True)), (node.value, _Within(node.subject))):
                if isinstance(target, r.Read):
                    yield _Event(target.var, source)
                elif target is not None:
                    yield from _created(target, ANY)
        case r.Try(variable=r.Read(var=var)) | r.BarrierOf(variable=r.Read(var=var)):
            yield _Event(var, ANY)
        case r.Try():
            yield from _created(node.variable, ANY)
        case r.Return(value=value) if not unit.is_generator:
            yield _Event(unit, value if value is not None else NONE)


def _created(target: r.Expr, value: r.Expr | int) -> Iterator[_Event]:
    """A write to an element may create an array in the variable, or replace its string."""
    at = target
    depth = 0
    is_slice = False
    while isinstance(at, (r.Element, r.SlicePart)):
        is_slice |= isinstance(at, r.SlicePart)
        at = at.base
        depth += 1
    if isinstance(at, r.Read):
        yield _Event(at.var, _EMPTY)
        if is_slice:
            yield _Event(at.var, STR if isinstance(target, r.SlicePart) else 0)
            yield _Event(at.var, ANY, True)
        else:
            yield _Event(at.var, value if depth == 1 else ARR, True)


_EMPTY = r.ArrayNew(None, ())  # type: ignore[arg-type]
