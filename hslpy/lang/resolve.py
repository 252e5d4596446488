"""Syntax nodes become the resolved program: every name is bound, includes are spliced, imports are modules.

In: the main script's nodes, the tables of builtins and predefined variables, an opener of files. Out: a `Resolution`
and diagnostics. Must not know Python, nor what a builtin does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from keyword import iskeyword
from typing import Any

from hslpy.lang import resolved as r
from hslpy.lang import syntax as s
from hslpy.lang.declare import Builtin
from hslpy.lang.older import in_numbers
from hslpy.lang.profiles import Profile
from hslpy.lang.resolve_classes import declare_class, resolve_class
from hslpy.lang.resolve_imports import import_data, import_symbols
from hslpy.lang.resolve_profiles import bare, in_profile, operator, text_part
from hslpy.lang.resolve_statics import find_static
from hslpy.lang.scopes import (
    Files,
    World,
    bind_capture,
    bind_global,
    find_symbol,
    lookup,
    nest,
    report_unknown_function,
    spread_blocks,
)
from hslpy.lang.sharing import CACHE_OPTIONS, FUNCTION_OPTIONS, option_hint
from hslpy.lang.source import Span

MOST_BLOCKS = 18  # Python's compiler allows 20 nested blocks; one is the function's, one an if-chain's or a switch's


def resolve(world: World, script: s.Script) -> r.Resolution:
    """Resolve the main script and everything it brings in. The diagnostics are in `world`."""
    resolver = Resolver(world)
    main = resolver.module(script)
    return r.Resolution(main, world.units, world.classes, frozenset(world.facts), frozenset(world.used_builtins))


_METHODS: dict[type, str] = {}


def method_name(node: s.Node) -> str:
    """Give the visitor's method for a node: `foreach_stmt` for a `ForeachStmt`."""
    kind = type(node)
    name = _METHODS.get(kind)
    if name is None:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
        name = _METHODS[kind] = f"{name}_" if iskeyword(name) else name
    return name


class Resolver:
    """The visitor; `unit` is the one at hand. Meeting a node class without a method, it raises AttributeError."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.files = Files(world)
        self.unit: r.Unit = None  # type: ignore[assignment]  # set by module()
        self.profile: Profile | None = None  # of the file at hand, None for the language as it is
        self.loops = 0
        self.switches = 0
        self.blocks = 0
        self.barriers = 0

    def report(self, code: str, span: Span, message: str, hint: str | None = None) -> None:
        self.world.report(code, span, message, hint)

    # ---- units -----------------------------------------------------------------------------------

    def module(self, script: s.Script) -> r.Module:
        path = script.span.source.path
        module = r.Module(path)
        self.world.modules[path] = module
        module.unit = self.world.new_unit("module", None, script.span, module, None)
        self.files.enter(path, script.span, "imports")
        self.in_unit(module.unit, lambda: self.body(script.body))
        self.files.leave()
        module.is_done = True
        return module

    def in_unit(self, unit: r.Unit, make_body: Any) -> None:
        """Resolve the body of a unit with fresh loop counts."""
        saved = self.unit, self.loops, self.switches, self.blocks, self.barriers, self.profile
        self.unit, self.loops, self.switches, self.blocks, self.barriers = unit, 0, 0, 0, 0
        self.enter_source(unit.span)
        unit.body = make_body()
        self.unit, self.loops, self.switches, self.blocks, self.barriers, self.profile = saved

    def enter_source(self, span: Span) -> None:
        """Take the profile of the file in which something stands."""
        profile = span.source.profile
        self.profile = None if profile.is_plain else profile

    def body(self, statements: Iterable[s.Stmt]) -> tuple[r.Stmt, ...]:
        """Resolve the statements of a unit: definitions first, then all in order."""
        statements = tuple(statements)
        pending: list[tuple[r.Unit, s.Function]] = []
        classes: list[tuple[r.ClassDef, s.ClassStmt]] = []
        self.hoist(statements, pending, classes)
        for unit, function in pending:
            self.function_body(unit, function)
        for class_def, node in classes:
            resolve_class(self, class_def, node)
        return self.statements(statements)

    def hoist(
        self,
        statements: Iterable[s.Stmt],
        pending: list[tuple[r.Unit, s.Function]],
        classes: list[tuple[r.ClassDef, s.ClassStmt]],
    ) -> None:
        """Register all functions, classes and imports, wherever they stand among the statements."""
        for statement in spread_blocks(statements):
            if isinstance(statement, s.FunctionStmt):
                function = statement.function
                unit = self.world.new_unit("function", function.name, statement.span, self.unit.module, self.unit)
                if self.declare(function.name or "", unit, function.name_span or statement.span):
                    pending.append((unit, function))
            elif isinstance(statement, s.ClassStmt):
                class_def = declare_class(self, statement)
                if self.declare(statement.name, class_def, statement.name_span):
                    classes.append((class_def, statement))
            elif isinstance(statement, s.IncludeStmt):
                script = self.files.include(self.unit, statement)
                if script is not None and self.files.enter(script.span.source.path, statement.span, "includes"):
                    self.hoist(script.body, pending, classes)
                    self.files.leave()
            elif isinstance(statement, (s.ImportStmt, s.ImportAllStmt)):
                import_symbols(self, statement)

    def declare(self, name: str, symbol: r.Symbol, span: Span) -> bool:
        """Register a function or class under its name, and say whether it is a new one."""
        known = self.unit.functions.get(name)
        if known is None:
            self.unit.functions[name] = symbol
            return True
        if known.span != symbol.span:  # else the same text, included once more
            what = "class" if isinstance(symbol, r.ClassDef) else "function"
            self.world.report(
                "E201", span, f"the {what} `{name}` is defined twice", None, (f"first defined at {known.span}",)
            )
        return False

    def function_body(self, unit: r.Unit, function: s.Function) -> None:
        """Resolve parameters, captures and body of a function."""
        for variable in function.captures:
            assert unit.parent is not None
            bind_capture(self.world, unit, unit.parent, variable)
        self.in_unit(unit, lambda: self._function_statements(unit, function))

    def _function_statements(self, unit: r.Unit, function: s.Function) -> tuple[r.Stmt, ...]:
        if function.params is None:
            unit.is_old_form = True
            for name in ("argc", "argv"):
                unit.variables[name] = self.world.new_var(name, unit, True)
                unit.variables[name].is_assigned = True
        seen_default = False
        for param in function.params or ():
            if param.name in unit.variables or param.name in unit.foreign:
                self.report("E202", param.span, f"the parameter `${param.name}` stands here twice")
                continue
            var = unit.variables[param.name] = self.world.new_var(param.name, unit, True)
            var.is_assigned = True
            default = None
            if param.default is not None:
                seen_default = True
                default = self.constant(param.default, "a default value")
            elif seen_default and not param.variadic:
                self.report("E210", param.span, f"`${param.name}` needs a default, since one before it has one")
            unit.params.append(r.ParamDef(var, default, param.variadic))
        return self.body(function.body.body)

    def constant(self, node: s.Expr, what: str) -> r.Expr:
        """Resolve an expression that must be constant."""
        todo: list[object] = [node]
        while todo:
            part = todo.pop()
            if isinstance(part, (s.Variable, s.Call, s.Assign, s.Increment, s.Function, s.Yield)):
                self.report("E210", part.span, f"{what} must be a constant")
                return r.Bad(node.span)
            if isinstance(part, s.Node):
                todo.extend(v for f in part.__dataclass_fields__ for v in _nodes(getattr(part, f)))
        return self.expr(node)

    # ---- statements ------------------------------------------------------------------------------

    def statements(self, nodes: Iterable[s.Stmt]) -> tuple[r.Stmt, ...]:
        found: list[r.Stmt] = []
        for node in nodes:
            result = getattr(self, method_name(node))(node)
            if isinstance(result, tuple):
                found.extend(result)
            elif result is not None:
                found.append(result)
        return tuple(found)

    def block(self, node: s.Block) -> tuple[r.Stmt, ...]:
        return self.statements(node.body)

    def inner(self, node: s.Stmt | None) -> tuple[r.Stmt, ...]:
        return () if node is None else self.statements((node,))

    def enclosed(self, node: s.Stmt | Iterable[s.Stmt], *, loop: bool = False, switch: bool = False) -> tuple[r.Stmt, ...]:
        """Resolve the body of a statement that is a block to Python: a loop, a switch, a try."""
        nodes = (node,) if isinstance(node, s.Stmt) else tuple(node)
        self.blocks += 1
        self.loops += loop
        self.switches += switch
        if self.blocks == MOST_BLOCKS + 1 and nodes:
            self.report(
                "E407",
                nodes[0].span,
                f"loops, `switch`, `try` and `barrier` are nested more than {MOST_BLOCKS} deep",
                "move a part into a function",
            )
        result = self.statements(nodes)
        self.blocks -= 1
        self.loops -= loop
        self.switches -= switch
        return result

    def empty_stmt(self, node: s.EmptyStmt) -> None:
        return None

    def expr_stmt(self, node: s.ExprStmt) -> r.Stmt:
        return r.Do(node.span, self.expr(node.value))

    def echo_stmt(self, node: s.EchoStmt) -> r.Stmt:
        return r.Echo(node.span, self.expr(node.value))

    def if_stmt(self, node: s.IfStmt) -> r.Stmt:
        branches = tuple((self.expr(condition), self.inner(body)) for condition, body in node.branches)
        return r.If(node.span, branches, self.inner(node.otherwise))

    def while_stmt(self, node: s.WhileStmt) -> r.Stmt:
        condition = self.expr(node.condition) if node.condition is not None else None
        return r.Loop(node.span, (), condition, (), self.enclosed(node.body, loop=True))

    def for_stmt(self, node: s.ForStmt) -> r.Stmt:
        start = self.exprs(node.start)
        condition = self.expr(node.condition) if node.condition is not None else None
        body = self.enclosed(node.body, loop=True)
        return r.Loop(node.span, start, condition, self.exprs(node.step), body)

    def foreach_stmt(self, node: s.ForeachStmt) -> r.Stmt:
        subject = self.expr(node.subject)
        key = self.target(node.key) if node.key is not None else None
        value = self.target(node.value)
        return r.Foreach(node.span, subject, key, value, self.enclosed(node.body, loop=True))

    def switch_stmt(self, node: s.SwitchStmt) -> r.Stmt:
        subject = self.expr(node.subject)
        if node.before:
            self.report("W503", node.before[0].span, "statements before the first `case` never run")
        cases = tuple(
            r.Case(c.span, self.expr(c.test) if c.test is not None else None, self.enclosed(c.body, switch=True))
            for c in node.cases
        )
        return r.Switch(node.span, subject, cases)

    def break_stmt(self, node: s.BreakStmt) -> r.Stmt:
        outside = not self.loops and not self.switches
        if outside:
            self.report("W502", node.span, "`break` stands outside of any loop: it ends the function")
        return r.Break(node.span, outside)

    def continue_stmt(self, node: s.ContinueStmt) -> r.Stmt:
        if not self.loops:
            self.report("W502", node.span, "`continue` stands outside of any loop: it ends the function")
        return r.Continue(node.span, not self.loops)

    def return_stmt(self, node: s.ReturnStmt) -> r.Stmt:
        return r.Return(node.span, self.expr(node.value) if node.value is not None else None)

    def try_stmt(self, node: s.TryStmt) -> r.Stmt:
        body = self.enclosed(node.body)
        variable = self.target(node.variable)
        return r.Try(node.span, body, variable, self.enclosed(node.handler))

    def barrier_stmt(self, node: s.BarrierStmt) -> r.Stmt:
        name = self.expr(node.name)
        variable = self.target(node.shared) if node.shared is not None else None
        if isinstance(variable, r.Read):
            variable.var.is_unset = variable.var.is_probed = True
        elif not isinstance(variable, r.Fact):
            variable = None
        self.barriers += 1
        body = self.enclosed(node.body)
        self.barriers -= 1
        return r.BarrierOf(node.span, name, variable, body)

    def throw_stmt(self, node: s.ThrowStmt) -> r.Stmt:
        return r.Throw(node.span, self.expr(node.value))

    def global_stmt(self, node: s.GlobalStmt) -> None:
        for variable in node.variables:
            bind_global(self.world, self.unit, variable)

    def include_stmt(self, node: s.IncludeStmt) -> tuple[r.Stmt, ...]:
        script = self.world.included.get((self.unit.id, id(node)))
        if script is None or not self.files.enter(script.span.source.path, node.span, "includes"):
            return ()
        saved = self.profile
        self.enter_source(script.span)
        result = self.statements(script.body)
        self.profile = saved
        self.files.leave()
        return result

    def import_stmt(self, node: s.ImportStmt | s.ImportAllStmt) -> r.Stmt | None:
        module = self.unit.module.imports.get(id(node))
        return r.RunModule(node.span, module) if module is not None else None

    import_all_stmt = import_stmt

    def import_data_stmt(self, node: s.ImportDataStmt) -> r.Stmt | None:
        return import_data(self, node)

    def function_stmt(self, node: s.FunctionStmt) -> None:
        return None  # hoisted

    def class_stmt(self, node: s.ClassStmt) -> None:
        return None  # hoisted

    # ---- expressions -----------------------------------------------------------------------------

    def expr(self, node: s.Expr) -> r.Expr:
        result: r.Expr = getattr(self, method_name(node))(node)
        return result if self.profile is None else in_profile(self.profile, result)

    def exprs(self, nodes: Iterable[s.Expr]) -> tuple[r.Expr, ...]:
        return tuple(self.expr(node) for node in nodes)

    def number_lit(self, node: s.NumberLit) -> r.Expr:
        return r.Const(node.span, float(node.value))

    def string_lit(self, node: s.StringLit) -> r.Expr:
        for span in node.bad_escapes:
            text = span.source.text[span.start : span.end]
            self.report(
                "W504", span, f"unknown escape `{text}`: backslash and character are kept", "write `\\\\` for a backslash"
            )
        return r.Const(node.span, node.value)

    def interpolation(self, node: s.Interpolation) -> r.Expr:
        return r.Text(node.span, self.exprs(node.parts))

    def regex_lit(self, node: s.RegexLit) -> r.Expr:
        return r.RegexConst(node.span, node.pattern, node.modifiers)

    def const_lit(self, node: s.ConstLit) -> r.Expr:
        return r.Const(node.span, node.value)

    def variable(self, node: s.Variable) -> r.Expr:
        if node.name == "this" and self.unit.this is None and "this" not in self.unit.foreign:
            self.report("E305", node.span, "`$this` is there in methods and constructors only")
        found = lookup(self.world, self.unit, node.name, node.span)
        if isinstance(found, r.Fact):
            return found
        if found.read_at is None:
            found.read_at = node.span
        return r.Read(node.span, found)

    def name(self, node: s.Name) -> r.Expr:
        symbol = find_symbol(self.unit, node.name)
        if symbol is not None:
            self.refer(symbol)
            return r.FunctionValue(node.span, symbol)
        row = self.builtin_row(node)
        return r.BuiltinValue(node.span, row) if row is not None else r.Bad(node.span)

    def builtin_name(self, node: s.BuiltinName) -> r.Expr:
        row = self.builtin_row(node)
        return r.BuiltinValue(node.span, row) if row is not None else r.Bad(node.span)

    def builtin_row(self, node: s.Name | s.BuiltinName) -> Builtin | None:
        name = self.unit.module.builtins.get(node.name, node.name)
        row = self.world.builtins.get(name)
        if row is None:
            report_unknown_function(self.world, self.unit, node.name, node.span)
            return None
        self.world.used_builtins.add(name)
        return in_numbers(row) if self.profile is not None and self.profile.booleans_are_numbers else row

    def refer(self, symbol: r.Symbol) -> None:
        """Note that the unit at hand refers to a function, which may have to be in sight of its Python function."""
        if isinstance(symbol, r.Unit):
            self.unit.callees.add(symbol)
            if symbol.is_nested and symbol.parent is not None and symbol.parent is not self.unit:
                nest(self.unit, symbol.parent)
        elif symbol.constructor is not None:
            self.unit.callees.add(symbol.constructor)

    def array_lit(self, node: s.ArrayLit) -> r.Expr:
        items = tuple(
            r.Item(i.span, self.expr(i.key) if i.key is not None else None, self.expr(i.value), i.spread) for i in node.items
        )
        return r.ArrayNew(node.span, items)

    def object_lit(self, node: s.ObjectLit) -> r.Expr:
        assert isinstance(node.items, s.ArrayLit)
        items = []
        for item in node.items.items:
            key = self.optional(item.key)
            value = self.method(item.value) if isinstance(item.value, s.Function) else self.expr(item.value)
            items.append(r.Item(item.span, key, value, item.spread))
        return r.ObjectNew(node.span, r.ArrayNew(node.items.span, tuple(items)))

    def method(self, node: s.Function) -> r.Expr:
        """Resolve a function written in `object [...]`: it sees the object as `$this`."""
        unit = self.world.new_unit("method", node.name, node.span, self.unit.module, self.unit)
        unit.class_def = None
        unit.this = unit.variables["this"] = self.world.new_var("this", unit, True)
        unit.this.is_assigned = True
        self.function_body(unit, node)
        self.unit.callees.add(unit)
        return r.FunctionValue(node.span, unit)

    def cache(self, node: s.Cache) -> r.Expr:
        options = self.expr(node.options) if not isinstance(node.options, s.ArrayLit) else self.cache_options(node.options)
        result = self.expr(node.call)
        call = result.value if isinstance(result, r.Convert) else result
        if isinstance(call, r.CallBuiltin) and "terminates" in call.row.signature.returns:
            self.report("E404", node.span, f"`{call.row.name}` ends the script: there is no result to keep")
        cached = r.Cached(node.span, options, call)
        return cached if call is result else r.Convert(node.span, "numbers", cached)

    def cache_options(self, node: s.ArrayLit) -> r.Expr:
        """Resolve the options of a `cache`; a function may be given by its name, as releases of 2015 had it."""
        items = []
        for item in node.items:
            name = item.key.value if isinstance(item.key, s.StringLit) else None
            if name is not None and name not in CACHE_OPTIONS:
                assert item.key is not None
                self.report("E404", item.key.span, f"unknown option `{name}` of `cache`", option_hint(name))
            value: s.Expr = item.value
            if name in FUNCTION_OPTIONS and isinstance(value, s.StringLit):
                value = s.Name(value.span, value.value)
            items.append(r.Item(item.span, self.optional(item.key), self.expr(value), item.spread))
        return r.ArrayNew(node.span, tuple(items))

    def unary(self, node: s.Unary) -> r.Expr:
        return r.UnaryOp(node.span, node.op, self.expr(node.operand))

    def binary(self, node: s.Binary) -> r.Expr:
        """Resolve a chain of binary operators from its leftmost operand on, without recursion along it."""
        chain: list[s.Binary] = [node]
        while isinstance(chain[-1].left, s.Binary):
            chain.append(chain[-1].left)
        value = self.quiet(chain[-1].left) if chain[-1].op == "??" else self.expr(chain[-1].left)
        running = ""  # the operator of a flat run such as `a . b . c`, its operands in `parts`
        parts: list[r.Expr] = []
        span = node.span
        for link in reversed(chain):
            if running and link.op != running:
                value, running = self.made(_flat(running, span, parts)), ""
            right = self.expr(link.right)
            span = link.span
            if link.op in (".", "and", "or"):
                if not running:
                    running, parts = link.op, [value]
                parts.append(right)
            elif link.op == "??":
                value = r.Coalesce(span, value, right)
            else:
                value = self.made(r.BinaryOp(span, link.op, value, right))
        return _flat(running, span, parts) if running else value

    def made(self, node: r.Expr) -> r.Expr:
        """Give a part of a chain as the file's profile has it."""
        return node if self.profile is None else in_profile(self.profile, node)

    def ternary(self, node: s.Ternary) -> r.Expr:
        condition = self.expr(node.condition)
        then = self.expr(node.then) if node.then is not None else None
        return r.Conditional(node.span, condition, then, self.expr(node.otherwise))

    def yield_(self, node: s.Yield) -> r.Expr:
        if self.unit.kind in ("module", "constructor"):
            self.report("E217", node.span, "`yield` stands in a function, whose call then gives an Iterator")
        if self.barriers:
            self.report("E405", node.span, "`yield` stands in a `barrier`, which others would wait for")
        self.unit.is_generator = True
        return r.YieldOf(node.span, self.optional(node.value))

    def match(self, node: s.Match) -> r.Expr:
        subject = self.expr(node.subject)
        arms = tuple(
            r.Arm(arm.span, self.exprs(arm.candidates) if arm.candidates is not None else None, self.expr(arm.value))
            for arm in node.arms
        )
        return r.Match(node.span, subject, arms)

    def index(self, node: s.Index) -> r.Expr:
        base = self.expr(node.base)
        if node.index is None:
            self.report("E206", node.span, "`[]` appends, and can only be assigned to")
            return r.Bad(node.span)
        return r.Element(node.span, base, self.expr(node.index), self.unit.class_def)

    def slice(self, node: s.Slice) -> r.Expr:
        return r.SlicePart(node.span, self.expr(node.base), *(self.optional(x) for x in (node.first, node.last, node.step)))

    def optional(self, node: s.Expr | None) -> r.Expr | None:
        return None if node is None else self.expr(node)

    def member(self, node: s.Member) -> r.Expr:
        return r.Element(node.span, self.expr(node.base), r.Const(node.span, node.name), self.unit.class_def)

    def static_member(self, node: s.StaticMember) -> r.Expr:
        found = find_static(self, node)
        if isinstance(found, r.Var):
            return r.Read(node.span, found)
        if isinstance(found, r.Fact):
            return found
        if isinstance(found, Builtin):
            return r.BuiltinValue(node.span, found)
        if found is None:
            return r.Bad(node.span)
        return r.FunctionValue(node.span, found)

    def function(self, node: s.Function) -> r.Expr:
        unit = self.world.new_unit("function", node.name, node.span, self.unit.module, self.unit)
        self.function_body(unit, node)
        self.unit.callees.add(unit)
        return r.FunctionValue(node.span, unit)

    def call(self, node: s.Call) -> r.Expr:
        function = node.function
        args = tuple(r.Arg(a.span, self.expr(a.value), a.spread) for a in node.arguments)
        if isinstance(function, s.Name):
            symbol = find_symbol(self.unit, function.name)
            if symbol is not None:
                self.refer(symbol)
                return r.CallUnit(node.span, symbol, args)
        if isinstance(function, (s.Name, s.BuiltinName)):
            row = self.builtin_row(function)
            return r.CallBuiltin(node.span, row, args) if row is not None else r.Bad(node.span)
        if isinstance(function, s.StaticMember) and not function.is_variable:
            found = find_static(self, function)
            if isinstance(found, Builtin):
                return r.CallBuiltin(node.span, found, args)
            if isinstance(found, (r.Unit, r.ClassDef)):
                return r.CallUnit(node.span, found, args)
            return r.Bad(node.span)
        if isinstance(function, s.Member):
            key: r.Expr = r.Const(function.span, function.name)
            return self.call_member(node, self.expr(function.base), key, args)
        if isinstance(function, s.Index) and function.index is not None:
            base = self.expr(function.base)
            return self.call_member(node, base, self.expr(function.index), args)
        return r.CallValue(node.span, self.expr(function), args)

    def call_member(self, node: s.Call, base: r.Expr, key: r.Expr, args: tuple[r.Arg, ...]) -> r.Expr:
        in_numbers = self.profile is not None and self.profile.booleans_are_numbers
        return r.CallMember(node.span, base, key, args, self.unit.class_def, in_numbers)

    def isset(self, node: s.Isset) -> r.Expr:
        target = self.quiet(node.target)
        return r.IssetOf(node.span, target.value if isinstance(target, r.Convert) else target)

    def unset(self, node: s.Unset) -> r.Expr:
        target = self.target(node.target, assigns=False)
        if isinstance(target, r.Read):
            target.var.is_unset = target.var.is_probed = True
        return r.UnsetOf(node.span, target)

    def quiet(self, node: s.Expr) -> r.Expr:
        """Resolve the left side of `??` or the path of `isset`: a variable without value is no error in it."""
        root = node
        while isinstance(root, (s.Index, s.Slice, s.Member)):
            root = root.base
        known = (
            self.unit.foreign.get(root.name) or self.unit.variables.get(root.name) if isinstance(root, s.Variable) else None
        )
        was_read_at = known.read_at if isinstance(known, r.Var) else None
        result = self.expr(node)
        if self.profile is not None:
            result = bare(result)
        at = result
        while isinstance(at, (r.Element, r.SlicePart)):
            at = at.base
        if isinstance(at, r.Read):
            at.var.is_probed = True
            at.var.read_at = was_read_at  # to ask is not to read
        return result

    # ---- targets ---------------------------------------------------------------------------------

    def assign(self, node: s.Assign) -> r.Expr:
        op = node.op[:-1] or None
        if isinstance(node.target, s.Pattern):
            value = self.expr(node.value)
            return r.AssignTo(node.span, None, self.pattern(node.target), value)
        target = self.target(node.target)
        if op == "+" and isinstance(target, r.Read):
            target.var.is_altered = True  # an array grows in place
        if op is not None and self.profile is not None:
            op = operator(self.profile, op)
        value = self.expr(node.value)
        return r.AssignTo(node.span, op, target, text_part(value) if op == ".?" else value)

    def increment(self, node: s.Increment) -> r.Expr:
        if not isinstance(node.target, (s.Variable, s.Index, s.Member, s.StaticMember)):
            self.report("E206", node.target.span, f"`{node.op}` wants a variable, an element or a property")
            return r.Bad(node.span)
        return r.Step(node.span, 1.0 if node.op == "++" else -1.0, self.target(node.target), node.prefix)

    def pattern(self, node: s.Pattern) -> r.Places:
        places = []
        keyed = any(item.key is not None for item in node.items)
        if keyed and any(item.key is None and not item.rest for item in node.items):
            self.report("E206", node.span, "a destructuring has keys for all its places, or for none")
        for number, item in enumerate(node.items):
            key = self.expr(item.key) if item.key is not None else r.Const(item.span, float(number))
            default = self.optional(item.default)
            target = self.pattern(item.target) if isinstance(item.target, s.Pattern) else self.target(item.target)
            places.append(r.Place(item.span, key, target, default, item.rest))
        return r.Places(node.span, tuple(places))

    def target(self, node: s.Expr, assigns: bool = True) -> r.Expr:
        """Resolve what is assigned to, or unset."""
        if isinstance(node, s.Variable) or (isinstance(node, s.StaticMember) and node.is_variable):
            found = self.variable_target(node)
            if isinstance(found, r.Read) and assigns:
                found.var.is_assigned = True
            return found
        if isinstance(node, (s.Index, s.Member, s.Slice)):
            base = self.container(node.base, assigns)
            if isinstance(node, s.Member):
                return r.Element(node.span, base, r.Const(node.span, node.name), self.unit.class_def)
            if isinstance(node, s.Slice):
                return r.SlicePart(node.span, base, *(self.optional(x) for x in (node.first, node.last, node.step)))
            return r.Element(node.span, base, self.optional(node.index), self.unit.class_def)
        self.report("E206", node.span, "only variables, elements and properties can be assigned to")
        return r.Bad(node.span)

    def container(self, node: s.Expr, assigns: bool) -> r.Expr:
        """Resolve what holds an assigned element: the path's root is altered in place."""
        if isinstance(node, (s.Variable, s.Index, s.Member, s.Slice)) or (
            isinstance(node, s.StaticMember) and node.is_variable
        ):
            found = self.target(node, assigns and not (isinstance(node, s.Variable) and node.name == "this"))
            if isinstance(found, r.Read):
                found.var.is_altered = True
                found.var.is_probed = True
            return found
        return self.expr(node)

    def variable_target(self, node: s.Variable | s.StaticMember) -> r.Expr:
        found = (
            find_static(self, node)
            if isinstance(node, s.StaticMember)
            else lookup(self.world, self.unit, node.name, node.span)
        )
        if isinstance(found, r.Fact):
            if found.predefined.yields:
                self.world.taken.setdefault(found.name, node.span)
            elif not found.predefined.writable:
                self.report(
                    "E205", node.span, f"`${found.name}` is predefined and cannot be assigned", "copy it to another variable"
                )
            return found
        if not isinstance(found, r.Var):
            return r.Bad(node.span)
        return r.Read(node.span, found)


def _flat(op: str, span: Span, parts: list[r.Expr]) -> r.Expr:
    """Give the node of a run of one operator; texts within a text become its parts."""
    if op != ".":
        return r.Logic(span, op, tuple(parts))
    flat: list[r.Expr] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, r.Text) else (part,))
    return r.Text(span, tuple(flat))


def _nodes(value: object) -> list[object]:
    """Give the nodes in a field of a syntax node."""
    if isinstance(value, tuple):
        return [node for item in value for node in _nodes(item)]
    return [value] if isinstance(value, s.Node) else []
