"""A resolution becomes one Python function, `program(run)`, with all HSL functions nested in it.

In: a `Resolution`. Out: `Compiled`, plain data that `marshal` can keep, and `lang/link.py` makes a `Program` of.
Module variables are locals of `program` where nobody else uses them, else cells; so globals are a run's own.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence

from hslpy.lang import resolved as r
from hslpy.lang.compile.context import Context
from hslpy.lang.compile.infer import infer
from hslpy.lang.compile.statements import Statements
from hslpy.lang.compile.types import ARR, walk
from hslpy.lang.link import Compiled
from hslpy.lang.source import Source


def compile_program(resolution: r.Resolution, sources: Sequence[Source], file: str) -> Compiled:
    """Compile a resolution that has no errors. `file` is the unique name of its code objects."""
    context = Context(infer(resolution))
    tree = ast.Module([_Assembler(context, resolution).program()], [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of comparing constants: the script's business
        code = compile(tree, file, "exec", dont_inherit=True)
    numbers = {id(source): number for number, source in enumerate(sources)}
    spans = tuple((numbers[id(span.source)], span.start, span.end) for span in context.spans)
    links = tuple(context.links.values())
    reads = resolution.facts | resolution.builtins
    return Compiled(code, file, spans, context.names, context.variables, links, reads)


class _Assembler:
    """Puts the Python functions of all units together."""

    def __init__(self, context: Context, resolution: r.Resolution) -> None:
        self.context = context
        self.b = context.b
        self.resolution = resolution
        self.main = resolution.main.unit
        self.units = _reached(resolution)
        self.nested: dict[int, list[r.Unit]] = {}
        for unit in self.units:
            if unit.is_nested and unit.parent is not None:
                self.nested.setdefault(unit.parent.id, []).append(unit)

    def program(self) -> ast.stmt:
        b, context, main = self.b, self.context, self.main
        b.line = context.line_of(main.span)
        functions: list[ast.stmt] = []
        for unit in self.units:
            if unit.kind != "module" and not unit.is_nested:
                functions.append(self.function(unit))
        for unit in self.units:
            if unit.kind == "module" and unit is not main:
                functions.extend([b.set_(f"done_m{unit.id}", b.const(False)), self.function(unit)])
        classes = [statement for class_def in self.resolution.classes for statement in self.class_(class_def)]
        body = Statements(context, main)
        statements = body.block(main.body)
        symbols: list[r.Symbol] = [*self.units, *self.resolution.classes]
        values = [b.set_(f"h{symbol.id}", self._value_of(symbol)) for symbol in symbols if f"h{symbol.id}" in b.used]
        start = self._first_values(main) + self._statics()
        prologue = [
            b.set_(name, make)
            for name, make in (
                ("facts", b.attr(b.name("run"), "facts")),
                ("echo", b.attr(b.name("run"), "echo")),
                ("invoke", b.attr(b.name("run"), "invoke")),
                ("next_slice", b.attr(b.name("run"), "slice")),
                ("too_deep", b.attr(b.name("run"), "too_deep")),
                ("depth", b.attr(b.attr(b.name("run"), "limits"), "depth")),
            )
            if name in b.used
        ]
        if "executiontime" in self.resolution.builtins:
            prologue.append(b.do(b.call(b.attr(b.name("run"), "begin"))))
        if "steps" in b.used:
            prologue.append(b.set_("steps", b.call(b.attr(b.name("run"), "start"))))
        unreached = [b.give(None), *self._bindings(main)]
        context.names["program"] = None
        everything = [*prologue, *start, *functions, *classes, *values, *statements, *unreached]
        return b.function("program", [("run", None)], None, everything)

    # ---- variables -------------------------------------------------------------------------------

    def holds(self, unit: r.Unit) -> list[r.Var]:
        """Give the variables that live in the Python function of a unit."""
        own = [
            var
            for var in unit.variables.values()
            if not (unit.kind == "module" and unit is not self.main and var.is_captured)
        ]
        if unit is self.main:
            for other in self.units:
                if other.kind == "module" and other is not unit:
                    own.extend(var for var in other.variables.values() if var.is_captured)
        return own

    def _first_values(self, unit: r.Unit) -> list[ast.stmt]:
        """Give UNSET to the variables whose being unset is asked for."""
        b = self.b
        return [
            b.set_(self.context.variable(var), b.name("UNSET"))
            for var in self.holds(unit)
            if var.is_probed and not var.is_param
        ]

    def _bindings(self, unit: r.Unit) -> list[ast.stmt]:
        """Bind, where it is never reached, what nested functions use, so that Python knows whose variable it is."""
        b = self.b
        return [
            b.set_(self.context.variable(var), b.const(None))
            for var in self.holds(unit)
            if var.is_captured or not var.is_assigned
        ]

    def _statics(self) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        maker = Statements(self.context, self.main)
        for class_def in self.resolution.classes:
            for member in class_def.statics.values():
                if member.var is not None:
                    value = maker.owned(member.value) if member.value is not None else self.b.const(None)
                    result.append(self.b.set_(self.context.variable(member.var), value))
        return result

    # ---- functions and classes -------------------------------------------------------------------

    def function(self, unit: r.Unit) -> ast.stmt:
        """Give the Python function of a unit."""
        b, context = self.b, self.context
        saved, flow = b.line, context.types.flow
        b.line = context.line_of(unit.span)
        maker = Statements(context, unit)
        maker.counts_depth = unit.kind != "module" and (unit.is_generator or _may_recur(unit))
        params: list[tuple[str, ast.expr | None]] = []
        rest: str | None = None
        entry: list[ast.stmt] = []
        if unit.this is not None:
            params.append((context.variable(unit.this), None))
            maker.assigned[unit.this] = None
        if unit.is_old_form:
            rest = "rest"
            argc, argv = context.variable(unit.variables["argc"]), context.variable(unit.variables["argv"])
            entry.append(b.set_(argc, b.call("float", b.call("len", b.name(rest)))))
            entry.append(b.set_(argv, b.call("rest_array", b.name(rest))))
        for param in unit.params:
            name = context.variable(param.var)
            if not param.var.is_unset:
                maker.assigned[param.var] = None
            if param.is_variadic:
                rest = name
                entry.append(b.set_(name, b.call("rest_array", b.name(name))))
            elif isinstance(param.default, r.Const):
                params.append((name, b.const(param.default.value)))
            elif param.default is not None:
                params.append((name, b.name("UNSET")))
                default = maker.conditionally(lambda param=param: maker.value(param.default))  # type: ignore[misc]
                entry.append(b.when(b.compare(b.name(name), "is", b.name("UNSET")), [b.set_(name, default)]))
            else:
                params.append((name, None))
            if (param.var.is_altered or param.var.is_captured or unit.is_generator) and not param.is_variadic:
                shared = b.set_(name, b.call(b.attr(b.name(name), "share")))
                if context.types.variables.get(param.var, 0) & ARR:
                    entry.append(b.when(b.is_kind(b.name(name), "Array"), [shared]))
        before: list[ast.stmt] = []  # what a generator does when it is called; the rest waits for the first value
        if unit.is_generator:
            before, entry = entry, [b.set_("base", b.name("depth"))]
        if maker.counts_depth:
            b.name("too_deep")
            entry = [
                *maker.count_round(),
                b.add_to("depth", b.const(1), "-"),
                b.when(b.compare(b.name("depth"), "<", b.const(0)), [b.fail(b.call("too_deep"))]),
                *entry,
            ]
        if unit.kind == "module":
            entry.append(b.set_(f"done_m{unit.id}", b.const(True)))
        inner = [self.function(child) for child in self.nested.get(unit.id, ())]
        body = maker.block(unit.body)
        local = set(self.holds(unit))
        foreign = [context.variable(var) for var in sorted(maker.stores - local, key=lambda v: v.id)]
        if maker.uses_steps:
            foreign.append("steps")
        if maker.counts_depth or maker.tries:
            foreign.append("depth")
        if unit.kind == "module":
            foreign.append(f"done_m{unit.id}")
        if foreign:
            entry.insert(0, b.nonlocal_(foreign))
        ending = [b.add_to("depth", b.const(1))] if maker.counts_depth else []
        unreached = self._bindings(unit)
        name = f"m{unit.id}" if unit.kind == "module" else context.function(unit)
        context.names[name] = unit.name
        everything = [*entry, *inner, *self._first_values(unit), *body, *ending, b.give(b.const(None)), *unreached]
        result = b.function(name, params, rest, everything)
        if unit.is_generator:
            values = [name for name, _ in params] + ([rest] if rest is not None and not unit.is_old_form else [])
            values += [context.variable(unit.variables[name]) for name in ("argc", "argv") if unit.is_old_form]
            inside = f"g{unit.id}"
            context.names[inside] = unit.name
            make = b.function(inside, [(value, None) for value in values], None, everything)
            given = b.call("numbered", b.call(inside, *(b.name(value) for value in values)))
            result = b.function(name, params, rest, [*before, make, b.give(given)])
        b.line, context.types.flow = saved, flow
        return result

    def _value_of(self, symbol: r.Symbol) -> ast.expr:
        b = self.b
        name = b.name(self.context.function(symbol))
        order = [b.const(symbol.order)] if isinstance(symbol, r.Unit) and symbol.order else []
        return b.call("HslFunction", name, b.const(symbol.name), b.const(symbol.required), b.const(symbol.maximum), *order)

    def class_(self, class_def: r.ClassDef) -> list[ast.stmt]:
        """Give what makes a class: its `ClassInfo`, and the function that makes an object."""
        b, context = self.b, self.context
        saved = b.line
        b.line = context.line_of(class_def.span)
        info = f"i{class_def.id}"
        keys: list[ast.expr] = []
        methods: list[ast.expr] = []
        fields: list[ast.expr] = []
        values: list[ast.expr] = []
        maker = Statements(context, self.main)
        for member in class_def.members.values():
            if member.unit is not None:
                keys.append(b.const(member.name))
                bounds = [b.const(member.unit.required), b.const(member.unit.maximum), b.const(member.is_private)]
                methods.append(b.call("Method", b.name(context.function(member.unit)), *bounds))
            else:
                fields.append(b.const(member.name))
                values.append(maker.owned(member.value) if member.value is not None else b.const(None))
        private = tuple(m.name for m in class_def.members.values() if m.is_private and m.unit is None)
        readonly = tuple(m.name for m in class_def.members.values() if m.is_readonly)
        made = b.call(
            "ClassInfo",
            b.const(class_def.id),
            b.const(class_def.name),
            b.dict_(keys, methods),
            b.call("frozenset", b.const(private)),
            b.call("frozenset", b.const(readonly)),
        )
        name = context.function(class_def)
        context.names[name] = class_def.name
        body = [b.set_("this", b.call("HslObject", b.const(class_def.name), b.name(info)))]
        if fields:
            body.append(b.set_attr(b.name("this"), "fields", b.dict_(fields, values)))
        if class_def.constructor is not None:
            constructor = context.function(class_def.constructor)
            body.append(b.do(b.call(constructor, b.name("this"), b.starred(b.name("args")))))
        body.append(b.give(b.name("this")))
        result = [b.set_(info, made), b.function(name, [], "args", body)]
        b.line = saved
        return result


def _reached(resolution: r.Resolution) -> list[r.Unit]:
    """Give the units that can be called, in the order of their making."""
    found: set[r.Unit] = set()
    todo = [unit for unit in resolution.units if unit.kind != "function"]
    todo += [m.unit for c in resolution.classes for m in c.statics.values() if m.unit is not None]
    while todo:
        unit = todo.pop()
        if unit not in found:
            found.add(unit)
            todo.extend(unit.callees)
    return [unit for unit in resolution.units if unit in found]


def _may_recur(unit: r.Unit) -> bool:
    """Say whether a call of the unit can lead to another call of script code."""
    for node in walk(unit.body):
        if isinstance(node, (r.CallUnit, r.CallValue, r.CallMember)):
            return True
        if isinstance(node, r.CallBuiltin) and node.row.takes_call:
            for parameter in node.row.signature.parameters:
                if "function" in parameter.types or "any" in parameter.types:
                    return True
    return False
