"""Where names live: units and their variables, functions hoisted from statements, files included and imported.

In: syntax nodes and an opener of files. Out: units, variables and modules for `resolve.py`. Must not know expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from typing import Protocol

from hslpy.errors import OperatorError, ScriptError
from hslpy.lang import syntax
from hslpy.lang.data import Constants, DataImports
from hslpy.lang.declare import Builtin
from hslpy.lang.diagnostics import Diagnostic, suggest
from hslpy.lang.predefined import Predefined
from hslpy.lang.resolved import ClassDef, Expr, Fact, Module, Symbol, Unit, Var
from hslpy.lang.source import Source, Span
from hslpy.records import dataclass

Opener = Callable[[str, str | None], tuple[Source, syntax.Script | None]]
DataOpener = Callable[[str, str | None], Source]


@dataclass(slots=True)
class World:
    """What one resolution works on: the tables given, the units made, the diagnostics found."""

    builtins: Mapping[str, Builtin]
    predefined: Mapping[str, Predefined]
    open_script: Opener
    open_data: DataOpener
    data: DataImports
    hook: str | None = None
    elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # the hooks of functions that not all have
    absent: Mapping[str, str] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)
    classes: list[ClassDef] = field(default_factory=list)
    modules: dict[str, Module] = field(default_factory=dict)
    facts: set[str] = field(default_factory=set)
    taken: dict[str, Span] = field(default_factory=dict)
    used_builtins: set[str] = field(default_factory=set)
    included: dict[tuple[int, int], syntax.Script | None] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)  # names, as messages have them, that a file with errors would give
    _next_id: int = 0

    def next_id(self) -> int:
        self._next_id += 1
        return self._next_id

    def report(self, code: str, span: Span, message: str, hint: str | None = None, notes: tuple[str, ...] = ()) -> None:
        self.diagnostics.append(Diagnostic(code, span, message, hint, notes))

    def findings(self) -> list[Diagnostic]:
        """Give the diagnostics without those that only say what a file that cannot be read would have given."""
        return [found for found in self.diagnostics if not self._follows(found)]

    def _follows(self, found: Diagnostic) -> bool:
        return found.code in ("E204", "E208", "W501") and (
            "*" in self.unread or any(x in found.message for x in self.unread)
        )

    def new_unit(self, kind: str, name: str | None, span: Span, module: Module, parent: Unit | None) -> Unit:
        class_def = parent.class_def if parent is not None else None
        unit = Unit(self.next_id(), kind, name, span, module, parent, class_def)
        self.units.append(unit)
        return unit

    def new_var(self, name: str, owner: Unit, is_param: bool = False) -> Var:
        return Var(self.next_id(), name, owner, is_param)


# ---- variables ----------------------------------------------------------------------------------------


def lookup(world: World, unit: Unit, name: str, span: Span) -> Var | Fact:
    """Give what `$name` means in `unit`; a name not seen before becomes a variable of the unit."""
    known = unit.foreign.get(name) or unit.variables.get(name)
    if isinstance(known, Fact):
        return Fact(span, known.name, known.predefined)
    if known is None and unit.kind == "module" and name in world.predefined:
        world.facts.add(name)
        return Fact(span, name, world.predefined[name])
    if known is None:
        known = unit.variables[name] = world.new_var(name, unit)
    if known.owner is not unit:
        known.is_captured = True
    unit.uses.add(known)
    return known


def bind_global(world: World, unit: Unit, variable: syntax.Variable) -> None:
    """Bind `$name` of a function to the module's variable, which need not exist yet."""
    name, module_unit = variable.name, unit.module.unit
    if unit is module_unit:
        return
    target = lookup(world, module_unit, name, variable.span)
    if unit.foreign.get(name) is target or (isinstance(target, Fact) and isinstance(unit.foreign.get(name), Fact)):
        return
    if name in unit.variables or name in unit.foreign:
        world.report("E209", variable.span, f"`${name}` is already a local variable here", "put `global` first")
        return
    unit.foreign[name] = target
    if isinstance(target, Var):
        target.is_captured = True


def bind_capture(world: World, unit: Unit, parent: Unit, variable: syntax.Variable) -> None:
    """Bind a name of `closure (...)` to the variable of the function around."""
    target = lookup(world, parent, variable.name, variable.span)
    unit.foreign[variable.name] = target
    if isinstance(target, Var):
        target.is_captured = True
        if target.read_at is None:
            target.read_at = variable.span
        if target.owner.kind != "module":
            nest(unit, target.owner)


def nest(unit: Unit, owner: Unit) -> None:
    """Note that `unit` sees something that lives in a call of `owner`: its Python function is nested there."""
    at: Unit | None = unit
    while at is not None and at is not owner:
        at.is_nested = True
        at = at.parent


# ---- functions and classes ------------------------------------------------------------------------------


def find_symbol(unit: Unit, name: str) -> Symbol | None:
    """Give the function or class that `name` means in `unit`, its own, of the functions around, or of the module."""
    at: Unit | None = unit
    while at is not None:
        symbol = at.functions.get(name)
        if symbol is not None:
            return symbol
        at = at.parent
    return unit.module.unit.functions.get(name)


def known_functions(world: World, unit: Unit) -> list[str]:
    """Give all names that a call may use in `unit`, the nearest first."""
    names: list[str] = []
    at: Unit | None = unit
    while at is not None:
        names.extend(at.functions)
        at = at.parent
    return names + [name for name in world.builtins if "-" not in name and ":" not in name]


def report_unknown_function(world: World, unit: Unit, name: str, span: Span) -> None:
    """Say that no function has this name: one of another hook, one not provided here, a misspelling, or unknown."""
    hooks = world.elsewhere.get(name)
    if hooks is not None:
        where = ", ".join(hooks)
        here = f", not at {world.hook}" if world.hook else ", not outside of hooks"
        world.report("E207", span, f"`{name}` is available at {where}{here}")
        return
    if report_absent(world, name, span):
        return
    hint = _HABITS.get(name) or suggest(name, known_functions(world, unit))
    if hint is None and name.isupper():
        hint = f'a text stands in quotes: `"{name}"`'
    if name in MODULES_OF:
        hint = f'import it: `import {{ {name} }} from "extras://{MODULES_OF[name]}";`'
    world.report("E204", span, f"unknown function `{name}`", hint)


MODULES_OF = {  # by function or class, what older releases had without an import; tests/tooling/test_guides.py imports each
    name: module
    for module, names in {
        "arc": "ARC",
        "authentication-results": "AuthenticationResults",
        "batv": "batv_sign batv_strip batv_verify",
        "clamav": "clamav",
        "dmarc": "dmarc organizationalDomain",
        "dsn": "dsn_parse",
        "http-background": "http_background",
        "rspamd": "RSPAMD",
        "spamassassin": "spamc",
        "srs": "srs_forward srs_reverse",
        "ulid": "ulid",
    }.items()
    for name in names.split()
}
_HABITS = {  # functions of PHP that HSL has under no name, and what it has instead
    "array_push": "write `$list[] = $value;`",
    "date": "write `strftime(format, time())`",
    "die": "`return` at the top level ends the script",
    "empty": "write `!$x`, or `!isset($x)`",
    "exit": "`return` at the top level ends the script",
    "is_null": "write `$x === none`",
    "printf": 'write `echo "%s" % [$x];`',
    "sprintf": 'write `"%s" % [$x]`',
    "strstr": "`str_find` gives a position, `pcre_match` the parts",
    "var_dump": "`echo` shows arrays whole",
}


def report_absent(world: World, name: str, span: Span) -> bool:
    """Say why a function or class of the original is not provided here; False when it is none of those."""
    reason = world.absent.get(name)
    if reason is not None:
        world.report("E408", span, f"`{name}` is not provided here: {reason}")
    return reason is not None


# ---- statements that bring in others -------------------------------------------------------------------


def spread_blocks(statements: Iterable[syntax.Stmt]) -> Iterator[syntax.Stmt]:
    """Walk statements and those within them, not into functions: where hoisted definitions may stand."""
    todo = list(statements)[::-1]
    while todo:
        statement = todo.pop()
        yield statement
        inner: list[syntax.Stmt] = []
        match statement:
            case syntax.Block():
                inner.extend(statement.body)
            case syntax.IfStmt():
                inner.extend(body for _, body in statement.branches)
                if statement.otherwise is not None:
                    inner.append(statement.otherwise)
            case syntax.WhileStmt() | syntax.ForStmt() | syntax.ForeachStmt():
                inner.append(statement.body)
            case syntax.SwitchStmt():
                for case in statement.cases:
                    inner.extend(case.body)
            case syntax.TryStmt():
                inner += [statement.body, statement.handler]
            case syntax.BarrierStmt():
                inner.append(statement.body)
        todo.extend(reversed(inner))


class Files:
    """Opens included and imported files, and finds cycles."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._under_way: list[str] = []
        self._once: set[tuple[int, str]] = set()

    def open(self, path: syntax.StringLit) -> tuple[Source, syntax.Script | None] | None:
        """Give the file that a statement names, or None after reporting that there is none."""
        try:
            return self.world.open_script(path.value, path.span.source.path)
        except (OperatorError, OSError) as error:
            self._missing(path, error)
            return None

    def has(self, path: syntax.StringLit) -> bool:
        """Say whether there is such a file."""
        try:
            self.world.open_script(path.value, path.span.source.path)
        except (OperatorError, OSError):
            return False
        return True

    def _missing(self, path: syntax.StringLit, error: Exception) -> None:
        hint = error.hint if isinstance(error, OperatorError) else None
        self.world.report("E214", path.span, f'no file "{path.value}" to be found here', hint)

    def data(self, path: syntax.StringLit, kind: str, name: str, options: Constants) -> Source | None:
        """Give a data file, its content looked at; None after reporting what is the matter."""
        assert self.world.data.read is not None
        try:
            source = self.world.open_data(name, path.span.source.path)
        except (OperatorError, OSError) as error:
            self._missing(path, error)
            return None
        try:
            self.world.data.read(kind, source, options)
        except ScriptError as error:
            self.world.report("E403", path.span, error.message, error.hint)
            return None
        return source

    def enter(self, path: str, span: Span, what: str) -> bool:
        """Begin with a file; reports a cycle and gives False when it is under way already."""
        if path in self._under_way:
            chain = " -> ".join([*self._under_way[self._under_way.index(path) :], path])
            self.world.report("E213", span, f"{what} in a circle: {chain}", "put what both need into a third file")
            return False
        self._under_way.append(path)
        return True

    def leave(self) -> None:
        self._under_way.pop()

    def include(self, unit: Unit, statement: syntax.IncludeStmt) -> syntax.Script | None:
        """Give the script to splice in for an include, or None: an error, or an include_once done before."""
        key = (unit.id, id(statement))
        if key in self.world.included:
            return self.world.included[key]
        self.world.included[key] = None
        opened = self.open(statement.path)
        if opened is None or opened[1] is None:
            self.world.unread.add("*")
            return None
        source, script = opened
        once = (unit.module.unit.id, source.path)
        if statement.once and once in self._once:
            return None
        self._once.add(once)
        self.world.included[key] = script
        return script


class Resolving(Protocol):
    """The visitor of `resolve.py`, as far as its parts in files of their own use it; `unit` is the one at hand."""

    world: World
    files: Files
    unit: Unit

    def report(self, code: str, span: Span, message: str, hint: str | None = None) -> None: ...
    def module(self, script: syntax.Script) -> Module: ...
    def function_body(self, unit: Unit, function: syntax.Function) -> None: ...
    def constant(self, node: syntax.Expr, what: str) -> Expr: ...
    def expr(self, node: syntax.Expr) -> Expr: ...
    def target(self, node: syntax.Expr, assigns: bool = True) -> Expr: ...
    def refer(self, symbol: Symbol) -> None: ...
