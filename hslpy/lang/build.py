"""The tree becomes syntax nodes. In: a Lark tree and its source. Out: `Script` and the faults a grammar cannot see.

One method a rule or alias of `hsl.lark`, called from the leaves upwards without recursion.
Knows nothing of scopes, types or what a name stands for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from math import isinf
from typing import Any

from lark import Token, Tree
from lark.tree import Meta

from hslpy.lang import literals
from hslpy.lang import syntax as s
from hslpy.lang.diagnostics import Diagnostic
from hslpy.lang.nesting import too_deep
from hslpy.lang.source import Source, Span

# The editor grammar of 2026 marks these as no names.
ILLEGAL_NAMES = frozenset(
    {"self", "this", "public", "protected", "struct", "clone", "final", "const", "goto", "namespace", "new", "interface"}
    | {"in", "extends", "print", "trait", "assert", "finally", "lambda", "pass", "destroy", "export", "use"}
)

_PLACES = (s.Variable, s.Index, s.Slice, s.Member)

Children = list[Any]


def build(tree: Tree[Token], source: Source) -> tuple[s.Script, list[Diagnostic]]:
    """Give the script of a whole tree and the errors found on the way, in no particular order."""
    builder = _Builder(source)
    script = builder.run(tree)
    builder.found.extend(_append_misuses(builder.appends))
    builder.found.extend(too_deep(script))
    return script, builder.found


class _Builder:
    """`appends` holds the `base[]` nodes not yet seen as the target of an assignment, by identity."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.found: list[Diagnostic] = []
        self.appends: dict[int, s.Index] = {}

    def run(self, tree: Tree[Token]) -> s.Script:
        """Build children before parents; a rule without a method raises."""
        order: list[Tree[Token]] = []
        waiting: list[Tree[Token]] = [tree]
        while waiting:
            node = waiting.pop()
            order.append(node)
            waiting.extend(child for child in node.children if isinstance(child, Tree))
        built: dict[int, Any] = {}
        methods: dict[str, Callable[[Meta, Children], Any]] = {}
        for node in reversed(order):
            method = methods.get(node.data)
            if method is None:
                method = methods[node.data] = getattr(self, node.data)
            built[id(node)] = method(node.meta, [built.pop(id(c)) if isinstance(c, Tree) else c for c in node.children])
        script = built[id(tree)]
        assert isinstance(script, s.Script)
        return script

    # ---- spans and complaints ---------------------------------------------------------------------

    def span(self, meta: Meta) -> Span:
        """Give the place of a rule, without brackets around it. An empty rule has none: callers pass another's meta."""
        return Span(self.source, meta.start_pos, meta.end_pos)

    def token_span(self, token: Token) -> Span:
        assert token.start_pos is not None and token.end_pos is not None
        return Span(self.source, token.start_pos, token.end_pos)

    def complain(self, code: str, span: Span, message: str, hint: str | None = None) -> None:
        self.found.append(Diagnostic(code, span, message, hint))

    def declared(self, token: Token, what: str) -> str:
        """Give the name that is declared here, complaining of words that HSL forbids."""
        name = str(token)
        if name in ILLEGAL_NAMES:
            self.complain("E110", self.token_span(token), f"`{name}` cannot be the name of a {what}: HSL keeps the word")
        return name

    # ---- statements -------------------------------------------------------------------------------

    def script(self, meta: Meta, children: Children) -> s.Script:
        return s.Script(Span(self.source, 0, len(self.source.text)), tuple(children))

    def block(self, meta: Meta, children: Children) -> s.Block:
        return s.Block(self.span(meta), tuple(children))

    def empty_stmt(self, meta: Meta, children: Children) -> s.EmptyStmt:
        return s.EmptyStmt(self.span(meta))

    def expr_stmt(self, meta: Meta, children: Children) -> s.ExprStmt:
        return s.ExprStmt(self.span(meta), children[0])

    def echo_stmt(self, meta: Meta, children: Children) -> s.EchoStmt:
        return s.EchoStmt(self.span(meta), children[0])

    def if_stmt(self, meta: Meta, children: Children) -> s.IfStmt:
        condition, body, *rest = children
        otherwise = rest[0] if rest else None
        first = (condition, body)
        if isinstance(otherwise, s.IfStmt):
            return s.IfStmt(self.span(meta), (first, *otherwise.branches), otherwise.otherwise)
        return s.IfStmt(self.span(meta), (first,), otherwise)

    def while_stmt(self, meta: Meta, children: Children) -> s.WhileStmt:
        return s.WhileStmt(self.span(meta), children[0], children[1])

    def forever_stmt(self, meta: Meta, children: Children) -> s.WhileStmt:
        return s.WhileStmt(self.span(meta), None, children[0])

    def for_list(self, meta: Meta, children: Children) -> tuple[s.Expr, ...]:
        return tuple(child for child in children if child is not None)

    def for_stmt(self, meta: Meta, children: Children) -> s.ForStmt:
        start, condition, step, body = children
        return s.ForStmt(self.span(meta), start, condition, step, body)

    def foreach_stmt(self, meta: Meta, children: Children) -> s.ForeachStmt:
        subject, first, second, body = children
        key, value = (None, first) if second is None else (first, second)
        return s.ForeachStmt(self.span(meta), subject, key, value, body)

    def case_label(self, meta: Meta, children: Children) -> s.SwitchCase:
        return s.SwitchCase(self.span(meta), children[0], False, ())

    def default_label(self, meta: Meta, children: Children) -> s.SwitchCase:
        return s.SwitchCase(self.span(meta), None, True, ())

    def switch_stmt(self, meta: Meta, children: Children) -> s.SwitchStmt:
        subject, *entries = children
        before: list[s.Stmt] = []
        cases: list[tuple[s.SwitchCase, list[s.Stmt]]] = []
        for entry in entries:
            if isinstance(entry, s.SwitchCase):
                if entry.is_default and any(label.is_default for label, _ in cases):
                    self.complain("E122", entry.span, "this `switch` has a `default` already")
                cases.append((entry, []))
            else:
                (cases[-1][1] if cases else before).append(entry)
        done = tuple(
            replace(label, span=label.span.to(body[-1].span) if body else label.span, body=tuple(body))
            for label, body in cases
        )
        return s.SwitchStmt(self.span(meta), subject, tuple(before), done)

    def try_stmt(self, meta: Meta, children: Children) -> s.TryStmt:
        return s.TryStmt(self.span(meta), *children)

    def barrier_stmt(self, meta: Meta, children: Children) -> s.BarrierStmt:
        return s.BarrierStmt(self.span(meta), *children)

    def return_stmt(self, meta: Meta, children: Children) -> s.ReturnStmt:
        return s.ReturnStmt(self.span(meta), children[0])

    def break_stmt(self, meta: Meta, children: Children) -> s.BreakStmt:
        return s.BreakStmt(self.span(meta))

    def continue_stmt(self, meta: Meta, children: Children) -> s.ContinueStmt:
        return s.ContinueStmt(self.span(meta))

    def throw_stmt(self, meta: Meta, children: Children) -> s.ThrowStmt:
        return s.ThrowStmt(self.span(meta), children[0])

    def global_stmt(self, meta: Meta, children: Children) -> s.GlobalStmt:
        return s.GlobalStmt(self.span(meta), tuple(children))

    def path(self, meta: Meta, children: Children) -> s.StringLit:
        read = self.string(meta, children) if children[0].type == "STRING" else self.raw_string(meta, children)
        if isinstance(read, s.StringLit):
            return read
        self.complain("E121", read.span, "a path is fixed when the script is loaded and cannot hold variables")
        return s.StringLit(read.span, "")

    def include_stmt(self, meta: Meta, children: Children) -> s.IncludeStmt:
        return s.IncludeStmt(self.span(meta), children[0], False)

    def include_once_stmt(self, meta: Meta, children: Children) -> s.IncludeStmt:
        return s.IncludeStmt(self.span(meta), children[0], True)

    def import_symbol(self, meta: Meta, children: Children) -> s.ImportSymbol:
        token, alias = children
        is_variable = token.type == "VARIABLE"
        start = 1 if is_variable else 0
        if not is_variable:
            self.declared(alias or token, "function or class")
        return s.ImportSymbol(self.span(meta), token[start:], (alias or token)[start:], is_variable)

    def import_stmt(self, meta: Meta, children: Children) -> s.ImportStmt:
        *symbols, path = children
        return s.ImportStmt(self.span(meta), tuple(child for child in symbols if child is not None), path)

    def import_all_stmt(self, meta: Meta, children: Children) -> s.ImportAllStmt:
        return s.ImportAllStmt(self.span(meta), self.declared(children[0], "module"), children[1])

    def import_data_stmt(self, meta: Meta, children: Children) -> s.ImportDataStmt:
        return s.ImportDataStmt(self.span(meta), *children)

    # ---- functions and classes --------------------------------------------------------------------

    def param(self, meta: Meta, children: Children) -> s.Param:
        return s.Param(self.span(meta), children[0][1:], children[1])

    def variadic(self, meta: Meta, children: Children) -> s.Param:
        return s.Param(self.span(meta), children[0][1:], None, True)

    def param_list(self, meta: Meta, children: Children) -> tuple[s.Param, ...]:
        params = tuple(child for child in children if child is not None)
        for param in params[:-1]:
            if param.variadic:
                self.complain(
                    "E119", param.span, f"`...${param.name}` takes all that is left and must be the last parameter"
                )
        return params

    def captures(self, meta: Meta, children: Children) -> tuple[s.Variable, ...]:
        return tuple(child for child in children if child is not None)

    def params(self, meta: Meta, children: Children) -> tuple[tuple[s.Param, ...], tuple[s.Variable, ...]]:
        return children[0], children[1] or ()

    def function(self, meta: Meta, children: Children) -> s.Function:
        (params, captures), body = children
        return s.Function(self.span(meta), None, params, captures, body)

    def function_stmt(self, meta: Meta, children: Children) -> s.FunctionStmt:
        token, (params, captures), body = children
        span = self.span(meta)
        name = self.declared(token, "function")
        return s.FunctionStmt(span, s.Function(span, name, params, captures, body, self.token_span(token)))

    def old_function_stmt(self, meta: Meta, children: Children) -> s.FunctionStmt:
        token, body = children
        span = self.span(meta)
        name = self.declared(token, "function")
        return s.FunctionStmt(span, s.Function(span, name, None, (), body, self.token_span(token)))

    def class_member(
        self, meta: Meta, modifiers: Children, name: str, function: s.Function | None, value: s.Expr | None
    ) -> s.ClassMember:
        words = {str(word) for word in modifiers}
        span = self.span(meta)
        return s.ClassMember(span, name, function, value, "private" in words, "static" in words, "readonly" in words)

    def method(self, meta: Meta, children: Children) -> s.ClassMember:
        *modifiers, token, (params, captures), body = children
        function = s.Function(self.span(meta), str(token), params, captures, body, self.token_span(token))
        return self.class_member(meta, modifiers, str(token), function, None)

    def field(self, meta: Meta, children: Children) -> s.ClassMember:
        *modifiers, token, value = children
        return self.class_member(meta, modifiers, token[1:], None, value)

    def class_stmt(self, meta: Meta, children: Children) -> s.ClassStmt:
        token, *members = children
        return s.ClassStmt(self.span(meta), self.declared(token, "class"), self.token_span(token), tuple(members))

    # ---- operators --------------------------------------------------------------------------------

    def yield_expr(self, meta: Meta, children: Children) -> s.Yield:
        return s.Yield(self.span(meta), children[0])

    def ternary(self, meta: Meta, children: Children) -> s.Ternary:
        return s.Ternary(self.span(meta), *children)

    def short_ternary(self, meta: Meta, children: Children) -> s.Ternary:
        return s.Ternary(self.span(meta), children[0], None, children[1])

    def binary(self, meta: Meta, children: Children) -> s.Binary:
        left, op, right = children
        return s.Binary(self.span(meta), str(op), left, right, self.token_span(op))

    def unary(self, meta: Meta, children: Children) -> s.Unary:
        op, operand = children
        return s.Unary(self.span(meta), "!" if op == "not" else str(op), operand)

    def prefix_increment(self, meta: Meta, children: Children) -> s.Increment:
        return s.Increment(self.span(meta), str(children[0]), children[1], True)

    def postfix_increment(self, meta: Meta, children: Children) -> s.Increment:
        return s.Increment(self.span(meta), str(children[1]), children[0], False)

    def assign(self, meta: Meta, children: Children) -> s.Assign:
        left, op, value = children
        target: s.Expr = left
        if isinstance(left, s.ArrayLit) and op == "=":
            target = self.pattern(left)
        else:
            self.check_place(left, str(op))
        return s.Assign(self.span(meta), str(op), target, value)

    def check_place(self, target: s.Expr, op: str) -> None:
        """Complain where `target` is nothing that can be assigned to; mark its appends as rightly used."""
        hint = None
        if isinstance(target, s.StaticMember) and target.is_variable:
            return
        if isinstance(target, _PLACES):
            at: s.Expr = target
            while isinstance(at, (s.Index, s.Slice, s.Member)):
                if op == "=" or at is not target:
                    self.appends.pop(id(at), None)
                at = at.base
            return
        if isinstance(target, s.Name):
            hint = f"a variable has a dollar: `${target.name}`"
        elif isinstance(target, s.Call) and isinstance(target.function, s.Name) and target.function.name == "list":
            hint = "HSL destructures by `[$a, $b] = ...`"
        elif isinstance(target, s.ArrayLit):
            hint = "destructuring is by `=` alone"
        elif op == "=" and isinstance(target, s.StringLit):
            hint = "`==` compares, and in an array `=>` parts key and value"
        elif op == "=":
            hint = "`==` compares"
        self.complain("E115", target.span, f"{describe(target)} cannot be assigned to", hint)

    def pattern(self, array: s.ArrayLit) -> s.Pattern:
        """Read an array literal anew as the left side of a destructuring."""
        items: list[s.PatternItem] = []
        for item in array.items:
            target: s.Expr = item.value
            default: s.Expr | None = None
            if isinstance(target, s.Assign) and target.op == "=" and not item.spread:
                default = target.value
                target = target.target
            elif isinstance(target, s.ArrayLit):
                target = self.pattern(target)
            else:
                self.check_place(target, "=")
            items.append(s.PatternItem(item.span, item.key, target, default, item.spread))
        for place in items[:-1]:
            if place.rest:
                self.complain("E116", place.span, "`...` takes all that is left and must be the last in a destructuring")
        plain = [item for item in items if not item.rest]
        if any(item.key is None for item in plain) and any(item.key is not None for item in plain):
            self.complain("E116", array.span, "a destructuring is by keys or by positions, not by both")
        elif items and items[-1].rest and any(item.key is not None for item in plain):
            self.complain("E116", items[-1].span, "`...` has no place in a destructuring by keys")
        if not items:
            self.complain("E116", array.span, "this destructuring assigns to nothing")
        return s.Pattern(array.span, tuple(items))

    def cache(self, meta: Meta, children: Children) -> s.Expr:
        """`cache [..] f()["x"]` caches the call and indexes its result: the first call of the chain is the cached one."""
        options, chain = children
        start = meta.start_pos
        outer: list[s.Expr] = []
        call: s.Expr | None = None
        at = chain
        while True:
            outer.append(at)
            if isinstance(at, s.Call):
                call, at = at, at.function
            elif isinstance(at, (s.Index, s.Slice, s.Member)):
                at = at.base
            elif isinstance(at, s.Increment) and not at.prefix:
                at = at.target
            else:
                break
        if call is None:
            self.complain(
                "E118", chain.span, f"`cache` wants a call, found {describe(chain)}", 'as in `cache ["ttl" => 60] f()`'
            )
            return s.Cache(self.span(meta), options, chain)
        depth = next(index for index, node in enumerate(outer) if node is call)
        result: s.Expr = s.Cache(Span(self.source, start, call.span.end), options, call)
        for node in reversed(outer[:depth]):
            name = next(field.name for field in fields(node) if field.name in ("function", "base", "target"))
            result = replace(node, span=Span(self.source, start, node.span.end), **{name: result})
            if self.appends.pop(id(node), None) and isinstance(result, s.Index):
                self.appends[id(result)] = result
        return result

    # ---- postfix ----------------------------------------------------------------------------------

    def argument(self, meta: Meta, children: Children) -> s.Argument:
        return s.Argument(self.span(meta), children[0])

    def spread_argument(self, meta: Meta, children: Children) -> s.Argument:
        return s.Argument(self.span(meta), children[0], True)

    def arguments(self, meta: Meta, children: Children) -> tuple[s.Argument, ...]:
        return tuple(child for child in children if child is not None)

    def call(self, meta: Meta, children: Children) -> s.Call:
        return s.Call(self.span(meta), children[0], children[1])

    def append(self, meta: Meta, children: Children) -> s.Index:
        node = s.Index(self.span(meta), children[0], None)
        self.appends[id(node)] = node
        return node

    def index(self, meta: Meta, children: Children) -> s.Index:
        return s.Index(self.span(meta), children[0], children[1])

    def slice_bounds(self, meta: Meta, children: Children) -> tuple[s.Expr | None, s.Expr | None, s.Expr | None]:
        if children[1].type == "COLONS":
            return children[0], None, children[2]
        first, _, last, _, step = children
        return first, last, step

    def slice(self, meta: Meta, children: Children) -> s.Slice:
        base, (first, last, step) = children
        return s.Slice(self.span(meta), base, first, last, step)

    def member(self, meta: Meta, children: Children) -> s.Member:
        return s.Member(self.span(meta), children[0], str(children[1]))

    def static_member(self, meta: Meta, children: Children) -> s.StaticMember:
        *owners, token = children
        is_variable = token.type == "VARIABLE"
        return s.StaticMember(self.span(meta), "::".join(owners), token[1:] if is_variable else str(token), is_variable)

    # ---- primaries --------------------------------------------------------------------------------

    def number(self, meta: Meta, children: Children) -> s.NumberLit:
        value = literals.number(children[0])
        if isinf(value):
            self.complain("E120", self.span(meta), "this number is beyond the largest there is, about 1.8 with 308 zeros")
        return s.NumberLit(self.span(meta), value)

    def string(self, meta: Meta, children: Children) -> s.StringLit | s.Interpolation:
        return literals.string(self.span(meta))

    def raw_string(self, meta: Meta, children: Children) -> s.StringLit:
        return literals.raw_string(self.span(meta))

    def regex(self, meta: Meta, children: Children) -> s.RegexLit:
        return literals.regex(self.span(meta))

    def constant(self, meta: Meta, children: Children) -> s.ConstLit:
        return s.ConstLit(self.span(meta), {"true": True, "false": False, "none": None}[children[0]])

    def variable(self, meta: Meta, children: Children) -> s.Variable:
        return s.Variable(self.span(meta), children[0][1:])

    def name(self, meta: Meta, children: Children) -> s.Expr:
        name = str(children[0])
        if name == "this":  # the form before 4.2, inside `object [...]`
            return s.Variable(self.span(meta), name)
        if name in ILLEGAL_NAMES:
            self.complain("E110", self.span(meta), f"`{name}` is not HSL: the word is kept and names nothing")
        return s.Name(self.span(meta), name)

    def builtin_name(self, meta: Meta, children: Children) -> s.BuiltinName:
        return s.BuiltinName(self.span(meta), str(children[0]))

    def array_value(self, meta: Meta, children: Children) -> s.ArrayItem:
        return s.ArrayItem(self.span(meta), None, children[0])

    def array_pair(self, meta: Meta, children: Children) -> s.ArrayItem:
        return s.ArrayItem(self.span(meta), children[0], children[1])

    def array_spread(self, meta: Meta, children: Children) -> s.ArrayItem:
        return s.ArrayItem(self.span(meta), None, children[0], True)

    def array_lit(self, meta: Meta, children: Children) -> s.ArrayLit:
        return s.ArrayLit(self.span(meta), tuple(child for child in children if child is not None))

    def object_lit(self, meta: Meta, children: Children) -> s.ObjectLit:
        return s.ObjectLit(self.span(meta), children[0])

    def check_path(self, word: str, target: s.Expr) -> None:
        if not isinstance(target, (*_PLACES, s.StaticMember)):
            self.complain("E117", target.span, f"`{word}` wants a variable or a part of one, found {describe(target)}")

    def isset(self, meta: Meta, children: Children) -> s.Isset:
        self.check_path("isset", children[0])
        return s.Isset(self.span(meta), children[0])

    def unset(self, meta: Meta, children: Children) -> s.Unset:
        self.check_path("unset", children[0])
        return s.Unset(self.span(meta), children[0])

    def match_call(self, meta: Meta, children: Children) -> s.Call:
        token, arguments = children
        return s.Call(self.span(meta), s.Name(self.token_span(token), str(token)), arguments)

    def match_arm(self, meta: Meta, children: Children) -> s.MatchArm:
        *candidates, value = children
        return s.MatchArm(self.span(meta), tuple(candidates), value)

    def match_default(self, meta: Meta, children: Children) -> s.MatchArm:
        return s.MatchArm(self.span(meta), None, children[0])

    def match(self, meta: Meta, children: Children) -> s.Match:
        token, arguments, *arms = children
        arms = [arm for arm in arms if arm is not None]
        if len(arguments) != 1 or arguments[0].spread:
            self.complain("E123", self.token_span(token), f"`match` wants one value to look at, found {len(arguments)}")
            arguments = (s.Argument(self.token_span(token), s.ConstLit(self.token_span(token), None)),)
        for second in [arm for arm in arms if arm.candidates is None][1:]:
            self.complain("E122", second.span, "this `match` has a `default` already")
        return s.Match(self.span(meta), arguments[0].value, tuple(arms))


def describe(node: s.Expr) -> str:
    """Name an expression in the script's words, with its article."""
    if isinstance(node, s.ConstLit):
        return f"`{'none' if node.value is None else str(node.value).lower()}`"
    if isinstance(node, s.Name):
        return f"the name `{node.name}`"
    return _DESCRIPTIONS.get(type(node), "this expression")


_DESCRIPTIONS: dict[type[s.Expr], str] = {
    s.NumberLit: "a number",
    s.StringLit: "a string",
    s.Interpolation: "a string",
    s.RegexLit: "a regex",
    s.ArrayLit: "an array",
    s.Call: "the result of a call",
    s.Function: "a function",
    s.BuiltinName: "a builtin",
    s.StaticMember: "a static function",
    s.Variable: "a variable",
    s.Index: "an element",
    s.Slice: "a slice",
    s.Member: "a member",
    s.Assign: "an assignment",
}


def _append_misuses(appends: dict[int, s.Index]) -> list[Diagnostic]:
    hint = "`[]` appends, as in `$list[] = 1`"
    return [
        Diagnostic("E114", node.span, "`[]` stands for the next free place and cannot be read", hint)
        for node in appends.values()
    ]
