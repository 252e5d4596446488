"""Imports: of functions, classes and variables of modules, of whole modules, of data.

In: import statements. Out: names bound in the unit at hand, and what stands for the statements.

A part of `resolve.py`, which passes itself in.
"""

from __future__ import annotations

from typing import cast

from hslpy.lang import resolved as r
from hslpy.lang import syntax as s
from hslpy.lang.compile.types import constant_array
from hslpy.lang.data import Constants
from hslpy.lang.diagnostics import suggest
from hslpy.lang.predefined import OF_THE_SERVER
from hslpy.lang.scopes import Resolving


def import_symbols(resolver: Resolving, node: s.ImportStmt | s.ImportAllStmt) -> None:
    """Resolve the module that a statement names, if this is its first import, and bind the names."""
    if resolver.unit.kind != "module":
        resolver.report("E216", node.span, "imports stand at the top level of a file")
        return
    if isinstance(node, s.ImportStmt) and not resolver.files.has(node.path) and _imports_builtins(resolver, node):
        return
    opened = resolver.files.open(node.path)
    if opened is None:
        _unread(resolver, node)
        return
    source, script = opened
    module = resolver.world.modules.get(source.path)
    if module is None:
        if script is None:
            _unread(resolver, node)
            return
        module = resolver.module(script)
    elif not module.is_done:
        resolver.files.enter(source.path, node.path.span, "imports")
        _unread(resolver, node)
        return
    resolver.unit.module.imports.setdefault(id(node), module)
    if isinstance(node, s.ImportAllStmt):
        if node.name in resolver.unit.module.namespaces:
            resolver.report("E215", node.span, f"the name `{node.name}` is imported twice")
        resolver.unit.module.namespaces[node.name] = module
        return
    for symbol in node.symbols:
        _import_symbol(resolver, module, symbol)


def _unread(resolver: Resolving, node: s.ImportStmt | s.ImportAllStmt) -> None:
    """Note the names that the import would have given."""
    if isinstance(node, s.ImportAllStmt):
        resolver.world.unread.add(f"`{node.name}`")
    else:
        resolver.world.unread.update(f"`{'$' if each.is_variable else ''}{each.alias}`" for each in node.symbols)


def _imports_builtins(resolver: Resolving, node: s.ImportStmt) -> bool:
    """Bind what scripts import from plugins of the original that are no modules here, where it is built in."""
    if not node.path.value.startswith("extras://"):
        return False
    name = node.path.value.removeprefix("extras://").removesuffix(".hsl")
    gives = OF_THE_SERVER.get(name)
    if not all(x.name in resolver.world.builtins for x in node.symbols):
        if gives is None:
            return False
        for symbol in node.symbols:
            if symbol.name not in resolver.world.builtins:
                what = f"the module has no {'variable `$' if symbol.is_variable else 'function or class `'}{symbol.name}`"
                resolver.report("E212", symbol.span, what, f"it has `{gives}`")
        _unread(resolver, node)
        return True
    if gives is None:
        what = f"no module `{name}` is known; what it is to give is built in, and taken from there"
        resolver.report("W508", node.path.span, what, suggest(name, OF_THE_SERVER) or "drop the import")
    for symbol in node.symbols:
        resolver.unit.module.builtins[symbol.alias] = symbol.name
    return True


def _import_symbol(resolver: Resolving, module: r.Module, symbol: s.ImportSymbol) -> None:
    unit = resolver.unit
    if symbol.is_variable:
        found = module.unit.variables.get(symbol.name) or module.unit.foreign.get(symbol.name)
        if not isinstance(found, r.Var):
            known = [name for name, var in module.unit.variables.items() if var.is_assigned]
            resolver.report("E212", symbol.span, f"the module has no variable `${symbol.name}`", suggest(symbol.name, known))
            resolver.world.unread.add(f"`${symbol.alias}`")
            return
        other = unit.foreign.get(symbol.alias)
        if symbol.alias in unit.variables or (other is not None and other is not found):
            resolver.report(
                "E215", symbol.span, f"`${symbol.alias}` is already a variable here", "import it `as` another name"
            )
            return
        found.is_captured = found.is_assigned = True
        unit.foreign[symbol.alias] = found
        return
    function = module.unit.functions.get(symbol.name)
    if function is None and symbol.name in module.builtins:  # the module has imported it itself
        unit.module.builtins[symbol.alias] = module.builtins[symbol.name]
        return
    if function is None:
        known = list(module.unit.functions)
        hint = suggest(symbol.name, known) or (f"it has {', '.join(f'`{one}`' for one in known[:12])}" if known else None)
        resolver.report("E212", symbol.span, f"the module has no function or class `{symbol.name}`", hint)
        resolver.world.unread.add(f"`{symbol.alias}`")
        return
    known_here = unit.functions.get(symbol.alias)
    if known_here is not None and known_here is not function:
        resolver.report("E215", symbol.span, f"`{symbol.alias}` is already defined here", "import it `as` another name")
        return
    unit.functions[symbol.alias] = function


def import_data(resolver: Resolving, node: s.ImportDataStmt) -> r.Stmt | None:
    """Give the assignment that stands for an import of data."""
    if resolver.unit.kind != "module":
        resolver.report("E216", node.span, "imports stand at the top level of a file")
        return None
    name = node.variable.name
    if name in resolver.unit.foreign or (name in resolver.unit.variables and resolver.unit.variables[name].is_assigned):
        resolver.report("E215", node.variable.span, f"`${name}` is already a variable here", "choose another name")
    target = resolver.target(node.variable)
    value = _data_of(resolver, node)
    return r.Do(node.span, r.AssignTo(node.span, None, target, value)) if value is not None else None


def _data_of(resolver: Resolving, node: s.ImportDataStmt) -> r.Expr | None:
    data = resolver.world.data
    kind, name = data.kind_of(node.path.value)
    refused = data.refusal(kind, name)
    if refused is not None:
        resolver.report("E403", node.path.span, *refused)
        return None
    given = resolver.expr(node.options) if node.options is not None else None
    options = constant_array(given) if given is not None else ()
    if options is None and isinstance(given, r.ArrayNew) and not given.items:
        options = ()
    if options is None:
        assert node.options is not None
        resolver.report("E210", node.options.span, "the options of an import must be constants")
        return None
    pairs = cast(Constants, options)
    source = resolver.files.data(node.path, kind, name, pairs)
    return r.DataOf(node.span, kind, source.path, pairs) if source is not None else None
