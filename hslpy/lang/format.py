"""Syntax nodes become HSL source again, in one canonical form. In: a node. Out: text that parses to the same node.

Comments, raw layout and needless brackets are not in the nodes and are lost: this serves tests and tools that show
code, not the editing of files. Knows nothing of what names mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import repeat
from typing import Any

from hslpy.lang import syntax as s

# How tightly an expression binds, in the order of the levels of `hsl.lark`; a part that binds less than its place
# asks for stands in brackets.
_LOOSEST, _TERNARY, _COALESCE, _OR, _AND, _COMPARE = range(6)
_PREFIX, _POSTFIX = 15, 16
_BINARY = {
    "??": _COALESCE,
    "or": _OR,
    "and": _AND,
    "|": 6,
    "^": 7,
    "&": 8,
    ".": 10,
    "**": 13,
    **dict.fromkeys(("==", "!=", "===", "!==", "<", ">", "<=", ">=", "=~", "!~"), _COMPARE),
    **dict.fromkeys(("<<", ">>", ">>>"), 9),
    **dict.fromkeys(("+", "-"), 11),
    **dict.fromkeys(("*", "/", "%"), 12),
}
_RIGHT = frozenset({"??", "**"})
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_STARTS_NAME = re.compile(r"\$(?=[A-Za-z_]|\{[A-Za-z_]\w*\})", re.ASCII)
_CONTINUES_NAME = re.compile(r"\w", re.ASCII)
_ENDS_WITH_NAME = re.compile(r"(?<![\w$])(?!\d)\w+\Z", re.ASCII)


def format_script(script: s.Script, indent: str | None = "    ") -> str:
    """Give a script as text, a statement a line; with `indent` None all of it in one line."""
    printer = _Printer(indent)
    return printer.lines(script.body, 0) if indent is None else printer.lines(script.body, 0) + "\n" * bool(script.body)


def format_expr(expr: s.Expr) -> str:
    """Give an expression as text, in one line."""
    return _Printer(None).expr(expr, _LOOSEST)


class _Printer:
    def __init__(self, indent: str | None) -> None:
        self.indent = indent

    # ---- statements -------------------------------------------------------------------------------

    def lines(self, body: Iterable[s.Stmt], depth: int) -> str:
        between = " " if self.indent is None else "\n" + self.indent * depth
        return between.join([self.stmt(stmt, depth) for stmt in body])

    def braces(self, inside: str, depth: int) -> str:
        if not inside:
            return "{ }"
        if self.indent is None:
            return f"{{ {inside} }}"
        return f"{{\n{self.indent * (depth + 1)}{inside}\n{self.indent * depth}}}"

    def stmt(self, stmt: s.Stmt, depth: int) -> str:
        method: Callable[[Any, int], str] = getattr(self, _METHODS[type(stmt)])
        return method(stmt, depth)

    def block(self, stmt: s.Block, depth: int) -> str:
        return self.braces(self.lines(stmt.body, depth + 1), depth)

    def empty_stmt(self, stmt: s.EmptyStmt, depth: int) -> str:
        return ";"

    def expr_stmt(self, stmt: s.ExprStmt, depth: int) -> str:
        return self.expr(stmt.value, _LOOSEST, depth) + ";"

    def echo_stmt(self, stmt: s.EchoStmt, depth: int) -> str:
        return f"echo {self.expr(stmt.value, _LOOSEST, depth)};"

    def if_stmt(self, stmt: s.IfStmt, depth: int) -> str:
        text = " else ".join(
            [f"if ({self.expr(condition, _LOOSEST, depth)}) {self.stmt(body, depth)}" for condition, body in stmt.branches]
        )
        return text if stmt.otherwise is None else f"{text} else {self.stmt(stmt.otherwise, depth)}"

    def while_stmt(self, stmt: s.WhileStmt, depth: int) -> str:
        head = "forever" if stmt.condition is None else f"while ({self.expr(stmt.condition, _LOOSEST, depth)})"
        return f"{head} {self.stmt(stmt.body, depth)}"

    def for_stmt(self, stmt: s.ForStmt, depth: int) -> str:
        start = ", ".join([self.expr(item, _LOOSEST, depth) for item in stmt.start])
        condition = "" if stmt.condition is None else " " + self.expr(stmt.condition, _LOOSEST, depth)
        step = ", ".join([self.expr(item, _LOOSEST, depth) for item in stmt.step])
        return f"for ({start};{condition};{' ' if step else ''}{step}) {self.stmt(stmt.body, depth)}"

    def foreach_stmt(self, stmt: s.ForeachStmt, depth: int) -> str:
        key = "" if stmt.key is None else f"${stmt.key.name} => "
        subject = self.expr(stmt.subject, _LOOSEST, depth)
        return f"foreach ({subject} as {key}${stmt.value.name}) {self.stmt(stmt.body, depth)}"

    def switch_stmt(self, stmt: s.SwitchStmt, depth: int) -> str:
        parts = [self.lines(stmt.before, depth + 1)] if stmt.before else []
        for case in stmt.cases:
            parts.append("default:" if case.test is None else f"case {self.expr(case.test, _LOOSEST, depth)}:")
            if case.body:
                inner = "" if self.indent is None else self.indent
                parts.append(inner + self.lines(case.body, depth + 2))
        between = " " if self.indent is None else "\n" + self.indent * (depth + 1)
        return f"switch ({self.expr(stmt.subject, _LOOSEST, depth)}) {self.braces(between.join(parts), depth)}"

    def break_stmt(self, stmt: s.BreakStmt, depth: int) -> str:
        return "break;"

    def continue_stmt(self, stmt: s.ContinueStmt, depth: int) -> str:
        return "continue;"

    def return_stmt(self, stmt: s.ReturnStmt, depth: int) -> str:
        return "return;" if stmt.value is None else f"return {self.expr(stmt.value, _LOOSEST, depth)};"

    def try_stmt(self, stmt: s.TryStmt, depth: int) -> str:
        return f"try {self.block(stmt.body, depth)} catch (${stmt.variable.name}) {self.block(stmt.handler, depth)}"

    def throw_stmt(self, stmt: s.ThrowStmt, depth: int) -> str:
        return f"throw {self.expr(stmt.value, _LOOSEST, depth)};"

    def global_stmt(self, stmt: s.GlobalStmt, depth: int) -> str:
        return f"global {', '.join([f'${variable.name}' for variable in stmt.variables])};"

    def include_stmt(self, stmt: s.IncludeStmt, depth: int) -> str:
        return f"{'include_once' if stmt.once else 'include'} {_string(stmt.path)};"

    def import_stmt(self, stmt: s.ImportStmt, depth: int) -> str:
        symbols = []
        for symbol in stmt.symbols:
            dollar = "$" if symbol.is_variable else ""
            alias = "" if symbol.alias == symbol.name else f" as {dollar}{symbol.alias}"
            symbols.append(f"{dollar}{symbol.name}{alias}")
        return f"import {{ {', '.join(symbols)} }} from {_string(stmt.path)};"

    def import_all_stmt(self, stmt: s.ImportAllStmt, depth: int) -> str:
        return f"import * as {stmt.name} from {_string(stmt.path)};"

    def import_data_stmt(self, stmt: s.ImportDataStmt, depth: int) -> str:
        options = "" if stmt.options is None else f" with {self.expr(stmt.options, _LOOSEST, depth)}"
        return f"import ${stmt.variable.name} from {_string(stmt.path)}{options};"

    def barrier_stmt(self, stmt: s.BarrierStmt, depth: int) -> str:
        # A `match (...)` or its like just before the `{` would take the block for its arms.
        name = self.expr(stmt.name, _LOOSEST, depth)
        shared = "" if stmt.shared is None else f" => ${stmt.shared.name}"
        return f"barrier {name if shared or not name.endswith(')') else f'({name})'}{shared} {self.block(stmt.body, depth)}"

    def function_stmt(self, stmt: s.FunctionStmt, depth: int) -> str:
        return self.function(stmt.function, depth)

    def class_stmt(self, stmt: s.ClassStmt, depth: int) -> str:
        members = []
        for member in stmt.members:
            flags = (("private", member.is_private), ("static", member.is_static), ("readonly", member.is_readonly))
            words = "".join([f"{word} " for word, is_set in flags if is_set])
            if member.function is not None:
                members.append(words + self.function(member.function, depth + 1))
            else:
                value = "" if member.value is None else f" = {self.expr(member.value, _LOOSEST, depth + 1)}"
                members.append(f"{words}${member.name}{value};")
        between = " " if self.indent is None else "\n" + self.indent * (depth + 1)
        return f"class {stmt.name} {self.braces(between.join(members), depth)}"

    def function(self, node: s.Function, depth: int) -> str:
        if node.name == "constructor":
            head = "constructor"
        else:
            head = "function " + (node.name or "")
        if node.params is not None:
            params = []
            for param in node.params:
                default = "" if param.default is None else f" = {self.expr(param.default, _LOOSEST, depth)}"
                params.append(f"{'...' if param.variadic else ''}${param.name}{default}")
            head += f"({', '.join(params)})"
        if node.captures:
            head += f" closure ({', '.join([f'${variable.name}' for variable in node.captures])})"
        return f"{head} {self.block(node.body, depth)}"

    # ---- expressions ------------------------------------------------------------------------------

    def expr(self, node: s.Expr, place: int, depth: int = 0) -> str:
        """Give an expression as it stands where something binding as tightly as `place` is wanted."""
        binds, text = self.bound(node, depth)
        return text if binds >= place else f"({text})"

    def bound(self, node: s.Expr, depth: int) -> tuple[int, str]:
        """Give how tightly an expression binds, and its text."""
        match node:
            case s.NumberLit():
                return _POSTFIX, number(node.value)
            case s.StringLit():
                return _POSTFIX, _string(node)
            case s.Interpolation():
                return _POSTFIX, _interpolation(node)
            case s.RegexLit():
                return _POSTFIX, f"#/{_regex(node.pattern)}/{node.modifiers}"
            case s.ConstLit():
                return _POSTFIX, "none" if node.value is None else str(node.value).lower()
            case s.Variable():
                return _POSTFIX, f"${node.name}"
            case s.Name():
                return _POSTFIX, node.name
            case s.BuiltinName():
                return _POSTFIX, f"builtin {node.name}"
            case s.StaticMember():
                return _POSTFIX, f"{node.class_name}::{'$' if node.is_variable else ''}{node.name}"
            case s.ArrayLit():
                return _POSTFIX, f"[{', '.join([self.item(item, depth) for item in node.items])}]"
            case s.Pattern():
                return _POSTFIX, f"[{', '.join([self.pattern_item(item, depth) for item in node.items])}]"
            case s.ObjectLit():
                return _POSTFIX, f"object {self.expr(node.items, _POSTFIX, depth)}"
            case s.Call():
                arguments = ", ".join(map(self.argument, node.arguments, repeat(depth)))
                return _POSTFIX, f"{self.expr(node.function, _POSTFIX, depth)}({arguments})"
            case s.Index():
                index = "" if node.index is None else self.expr(node.index, _LOOSEST, depth)
                return _POSTFIX, f"{self.expr(node.base, _POSTFIX, depth)}[{index}]"
            case s.Slice():
                return _POSTFIX, f"{self.expr(node.base, _POSTFIX, depth)}[{self.bounds(node, depth)}]"
            case s.Member():
                return _POSTFIX, f"{self.expr(node.base, _POSTFIX, depth)}->{node.name}"
            case s.Increment() if node.prefix:
                return _PREFIX, node.op + self.prefixed(node.target, node.op[0], depth)
            case s.Increment():
                return _POSTFIX, self.expr(node.target, _POSTFIX, depth) + node.op
            case s.Unary():
                return _PREFIX, node.op + self.prefixed(node.operand, node.op, depth)
            case s.Cache():
                return _PREFIX, f"cache {self.expr(node.options, _POSTFIX, depth)} {self.expr(node.call, _POSTFIX, depth)}"
            case s.Binary():
                return _BINARY[node.op], self.binary(node, depth)
            case s.Ternary():
                condition = self.expr(node.condition, _COALESCE, depth)
                then = "?:" if node.then is None else f"? {self.expr(node.then, _LOOSEST, depth)} :"
                return _TERNARY, f"{condition} {then} {self.expr(node.otherwise, _TERNARY, depth)}"
            case s.Assign():
                return (
                    _LOOSEST,
                    f"{self.expr(node.target, _POSTFIX, depth)} {node.op} {self.expr(node.value, _LOOSEST, depth)}",
                )
            case s.Yield():
                text = "" if node.value is None else self.expr(node.value, _LOOSEST, depth)
                # After `yield` an operator may follow as well as a value: `!~` is read as the operator.
                return _LOOSEST, f"yield ({text})" if text.startswith("!~") else f"yield {text}".rstrip()
            case s.Isset():
                return _POSTFIX, f"isset({self.expr(node.target, _LOOSEST, depth)})"
            case s.Unset():
                return _POSTFIX, f"unset({self.expr(node.target, _LOOSEST, depth)})"
            case s.Match():
                return _POSTFIX, self.match(node, depth)
            case s.Function():
                return _POSTFIX, self.function(node, depth)
            case _:
                raise TypeError(f"no form is known for {type(node).__name__}")

    def prefixed(self, operand: s.Expr, op: str, depth: int) -> str:
        """Give the operand of a prefix operator, so that `-` before `-` doesn't become `--`."""
        text = self.expr(operand, _PREFIX, depth)
        return f"({text})" if text.startswith(op) and op in "+-" else text

    def binary(self, node: s.Binary, depth: int) -> str:
        """Walk down the left side in a loop: it may be thousands of terms long."""
        parts: list[str] = []
        at: s.Expr = node
        place = 0
        while isinstance(at, s.Binary) and _BINARY[at.op] >= place:
            level = _BINARY[at.op]
            right_level, left_level = (level, level + 1) if at.op in _RIGHT else (level + 1, level)
            parts += [self.expr(at.right, right_level, depth), at.op]
            at, place = at.left, left_level
        parts.append(self.expr(at, place, depth))
        return " ".join(reversed(parts))

    def item(self, item: s.ArrayItem, depth: int) -> str:
        key = "" if item.key is None else f"{self.expr(item.key, _LOOSEST, depth)} => "
        return f"{'...' if item.spread else ''}{key}{self.expr(item.value, _LOOSEST, depth)}"

    def pattern_item(self, item: s.PatternItem, depth: int) -> str:
        key = "" if item.key is None else f"{self.expr(item.key, _LOOSEST, depth)} => "
        default = "" if item.default is None else f" = {self.expr(item.default, _LOOSEST, depth)}"
        return f"{'...' if item.rest else ''}{key}{self.expr(item.target, _POSTFIX, depth)}{default}"

    def argument(self, item: s.Argument, depth: int) -> str:
        return ("..." if item.spread else "") + self.expr(item.value, _LOOSEST, depth)

    def bounds(self, node: s.Slice, depth: int) -> str:
        first, last, step = [
            "" if part is None else self.expr(part, _LOOSEST, depth) for part in (node.first, node.last, node.step)
        ]
        if step and not last and _ENDS_WITH_NAME.search(first):
            first = f"({first})"  # `name::$x` is a static member
        return f"{first}:{last}:{step}" if step else f"{first}:{last}"

    def match(self, node: s.Match, depth: int) -> str:
        arms = []
        for arm in node.arms:
            written = None if arm.candidates is None else [self.expr(item, _LOOSEST, depth) for item in arm.candidates]
            arms.append(f"{'default' if written is None else ', '.join(written)} => {self.expr(arm.value, _LOOSEST, depth)}")
        between = ", " if self.indent is None else ",\n" + self.indent * (depth + 1)
        return f"match ({self.expr(node.subject, _LOOSEST, depth)}) {self.braces(between.join(arms), depth)}"


def number(value: float) -> str:
    """Give a number as it is written: in full, since HSL has no exponents."""
    if value == int(value):
        return str(int(value))
    return format(Decimal(repr(value)), "f")


def _regex(pattern: str) -> str:
    return re.sub(r"\\.|/", lambda found: "\\/" if found[0] == "/" else found[0], pattern, flags=re.DOTALL)


def _escaped(text: str) -> str:
    written = "".join(
        [_ESCAPED.get(letter) or (letter if " " <= letter != "\x7f" else f"\\x{ord(letter):02x}") for letter in text]
    )
    return _STARTS_NAME.sub(r"\\$", written)


def _string(node: s.StringLit) -> str:
    return f'"{_escaped(node.value)}"' if node.quote == '"' else f"{node.quote}{node.value}{node.quote}"


def _interpolation(node: s.Interpolation) -> str:
    written: list[str] = []
    following = ""
    for part in reversed(node.parts):
        if isinstance(part, s.StringLit):
            following = _escaped(part.value)
        else:
            assert isinstance(part, s.Variable)
            following = f"${{{part.name}}}" if _CONTINUES_NAME.match(following) else f"${part.name}"
        written.append(following)
    return f'"{"".join(reversed(written))}"'


_METHODS: dict[type[s.Stmt], str] = {
    node: re.sub(r"(?<!^)(?=[A-Z])", "_", node.__name__).lower()
    for node in vars(s).values()
    if isinstance(node, type) and issubclass(node, s.Stmt) and node is not s.Stmt
}
