"""Random programs that mostly make sense: each kind of variable has names of its own, loops end, functions do not recurse.

In: a source of randomness. Out: the text of a script, a line a statement, so that lines tell places. Now and then a value
is of the wrong kind, a variable has none, a name is used for another kind; what may fail often stands in a `try`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

NUMBERS = ["0", "1", "2", "3", "5", "7.9", "0.5", "-1", "-2", "1.5", "10", "255", "4294967295", "2147483648", "1e0", "0x1f"]
NUMBERS = [text for text in NUMBERS if "e" not in text] + ["20000000000", "9007199254740991", "0.1", "100"]
STRINGS = ['""', '"0"', '"1"', '"a"', '"abc"', '"Ab c"', '"1.5"', '"-1"', '"01"', '"x,y"', '"0x10"', '"\\xe5\\n"', "''r$''"]
KEYS = ['"k"', '"a"', "0", "1", "2", '"1"', "-1", "true", "1.9", '"x"', "$n1", "$s1"]
PATTERNS = ["#/b/i", '"^a"', '"[0-9]"']
KINDS = "nsabf"  # numbers, strings, arrays, booleans, functions; x is anything
PURE = [
    ("length", "s"),
    ("strlen", "s"),
    ("str_upper", "s"),
    ("str_lower", "s"),
    ("str_strip", "s"),
    ("count", "a"),
    ("array_keys", "a"),
    ("array_reverse", "a"),
    ("is_array", "x"),
    ("is_string", "x"),
    ("is_number", "x"),
    ("number", "x"),
    ("str_find", "ss"),
    ("str_split", "sc"),
    ("str_replace", "sss"),
    ("array_join", "as"),
    ("array_includes", "xa"),
    ("array_unique", "a"),
    ("array_map", "fa"),
    ("array_filter", "fa"),
    ("round", "n"),
    ("floor", "n"),
    ("json_encode", "x"),
]


class Writer:
    """Writes one program."""

    def __init__(self, random: Random, size: int = 14) -> None:
        self.random = random
        self.size = size
        self.lines: list[str] = []
        self.indent = 0
        self.loops = 0
        self.count = 0
        self.functions: list[tuple[str, int, bool]] = []  # name, parameters, whether it yields
        self.in_function = False
        self.in_method = False
        self.yields = False
        self.no_calls = False

    # ---- choosing -----------------------------------------------------------------------------------

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def pick(self, options: Any) -> Any:
        return options[self.random.randrange(len(options))]

    def below(self, most: int) -> int:
        return self.random.randrange(most)

    def line(self, text: str) -> None:
        self.lines.append("  " * self.indent + text)

    def fresh(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    # ---- expressions --------------------------------------------------------------------------------

    def variable(self, kind: str) -> str:
        if kind == "x":
            kind = self.pick(KINDS + "x")
        return f"${kind}{1 + self.below(3 if kind != 'f' else 2)}"

    def expr(self, kind: str = "x", depth: int = 3) -> str:
        """Give an expression, most often of the kind."""
        if self.chance(0.03):
            kind = self.pick(KINDS + "x")
        if kind == "x" and self.chance(0.9):
            kind = self.pick("nnnsssaabf")
        if depth <= 0 or self.chance(0.15):
            return self.leaf(kind)
        if self.chance(0.04):
            return self.anything(kind, depth - 1)
        return {
            "n": self.number,
            "s": self.string,
            "a": self.array,
            "b": self.boolean,
            "f": self.function,
            "x": self.other,
        }[kind](depth - 1)

    def leaf(self, kind: str) -> str:
        if self.chance(0.5):
            return self.variable(kind)
        if kind == "n":
            return str(self.pick(NUMBERS))
        if kind == "s":
            return str(self.pick(STRINGS))
        if kind == "a":
            return str(
                self.pick(["[]", "[1, 2, 3]", '["k" => 1]', '["a", "b"]', '[[1], "x" => [2]]', "[none]", "[3 => 1, 2]"])
            )
        if kind == "b":
            return str(self.pick(["true", "false"]))
        if kind == "f":
            return str(self.pick(["strlen", "count", "is_array", "number", "f0", "f0"]))
        return str(self.pick(["none", "#/[a-c]+/", "true", "0"]))

    def anything(self, kind: str, depth: int) -> str:
        """Give forms that hold any kind."""
        a = [
            lambda: f"({self.expr('b', depth)} ? {self.expr(kind, depth)} : {self.expr(kind, depth)})",
            lambda: f"({self.expr(kind, depth)} ?: {self.expr(kind, depth)})",
            lambda: f"({self.place('x', depth)} ?? {self.expr(kind, depth)})",
            lambda: f"({self.variable(kind)} = {self.expr(kind, depth)})",
            lambda: self.match(kind, depth),
            lambda: self.place(kind, depth),
            lambda: f"(function () {{ return {self.pick(NUMBERS)}; }})()",
            lambda: self.call(depth),
        ]
        return str(self.pick(a)())

    def match(self, kind: str, depth: int) -> str:
        arms = [f"{self.expr('x', depth)} => {self.expr(kind, depth)}" for _ in range(1 + self.below(3))]
        if self.chance(0.3):
            arms[0] = f"{self.leaf('x')}, {arms[0]}"
        if self.chance(0.8):
            arms.append(f"default => {self.expr(kind, depth)}")
        return f"match ({self.expr('x', depth)}) {{ {', '.join(arms)} }}"

    def number(self, depth: int) -> str:
        e = self.expr
        a: list[Callable[[], str]] = [
            lambda: f"({e('n', depth)} {self.pick('+-*/%+-*')} {e('n', depth)})",
            lambda: (
                f"{e('n', depth)} {self.pick(['+', '-', '*', '%', '**', '&', '|', '^', '<<', '>>', '>>>'])} {e('n', depth)}"
            ),
            lambda: f"-({e('n', depth)})" if self.chance(0.5) else f"~({e('n', depth)})",
            lambda: f"{self.variable('n')}{self.pick(['++', '--'])}",
            lambda: f"{self.pick(['++', '--'])}{self.variable('n')}",
            lambda: f"count({e('a', depth)})",
            lambda: f"length({e('s', depth)})",
            lambda: f"number({e('x', depth)})",
            lambda: f"({e('b', depth)} + {e('n', depth)})",
            lambda: f"({e('s', depth)} + {e('n', depth)})",
            lambda: self.call(depth),
        ]
        return str(self.pick(a)())

    def string(self, depth: int) -> str:
        e = self.expr
        a: list[Callable[[], str]] = [
            lambda: f"{e('s', depth)} . {e('x' if self.chance(0.5) else 's', depth)}",
            lambda: f"({e('s', depth)} . {e('n', depth)})",
            lambda: f'"{self.interpolated()}"',
            lambda: f"{e('s', depth)}[{self.bounds()}]",
            lambda: f"{e('s', depth)}[{self.expr('n', 0)}]",
            lambda: f"({e('s', depth)} * {self.below(4)})",
            lambda: f'("{self.template()}" % [{e("x", depth)}, {e("n", depth)}, {e("s", depth)}])',
            lambda: f"str_upper({e('s', depth)})",
            lambda: f"str_replace({e('s', depth)}, {self.leaf('s')}, {self.leaf('s')})",
            lambda: f"array_join({e('a', depth)}, {self.leaf('s')})",
            lambda: f"json_encode({e('a', depth)})",
        ]
        return str(self.pick(a)())

    def interpolated(self) -> str:
        return "".join(self.one_part() for _ in range(4))

    def one_part(self) -> str:
        return str(self.pick(["a", " ", "$", "\\$", self.variable("s"), "${" + self.variable("n")[1:] + "}", "[0]", "\\\\"]))

    def template(self) -> str:
        def one() -> str:
            letter = self.pick("sfxcbsf")
            index = f"[{self.below(3)}]" if self.chance(0.2) else ""
            fill = self.pick(["", "", "'0", "'x"])
            width = str(self.below(7) or "")
            precision = f".{self.below(4)}" if self.chance(0.3) else ""
            return f"%{index}{fill}{self.pick(['', '<', '>', '^', '='])}{width}{precision}{letter}"

        return "|".join(self.pick(["a", "%%", one(), one(), one()]) for _ in range(1 + self.below(3)))

    def bounds(self) -> str:
        def one() -> str:
            return self.pick(["", "", str(self.below(5)), f"-{self.below(4)}", self.variable("n"), "1 + 1"])

        return f"{one()}:{one()}" + (f":{self.pick(['', '1', '2', '-1', '-2', '0'])}" if self.chance(0.3) else "")

    def array(self, depth: int) -> str:
        e = self.expr
        a: list[Callable[[], str]] = [
            lambda: f"[{', '.join(self.item(depth) for _ in range(self.below(4)))}]",
            lambda: f"[{', '.join(self.item(depth) for _ in range(1 + self.below(3)))}]",
            lambda: f"({e('a', depth)} + {e('a' if self.chance(0.7) else 'x', depth)})",
            lambda: f"({e('a', depth)} - {e('a' if self.chance(0.5) else 'x', depth)})",
            lambda: f"({e('a', depth)} * {self.below(3)})",
            lambda: f"{e('a', depth)}[{self.bounds()}]",
            lambda: (
                f"array_map(function ($x) {{ return {self.pick(['$x', '[$x]', '$x . 1', '$x + 1'])}; }}, {e('a', depth)})"
            ),
            lambda: (
                f"array_filter(function ($x) {{ return {self.pick(['$x', '$x == 1', '!is_array($x)'])}; }}, {e('a', depth)})"
            ),
            lambda: f"str_split({e('s', depth)}, " + '",")',
            lambda: f"array_keys({e('a', depth)})",
            lambda: self.variable("a"),
        ]
        return str(self.pick(a)())

    def item(self, depth: int) -> str:
        if self.chance(0.15):
            return f"...{self.expr('a', depth)}"
        return (f"{self.key()} => " if self.chance(0.4) else "") + self.expr("x", depth)

    def key(self) -> str:
        return str(self.pick(KEYS))

    def boolean(self, depth: int) -> str:
        e = self.expr
        kind = self.pick("nnsax")
        ops = ["==", "!=", "===", "!==", "<", ">", "<=", ">="]
        a: list[Callable[[], str]] = [
            lambda: f"({e(kind, depth)} {self.pick(ops)} {e(kind, depth)})",
            lambda: f"({e('n', depth)} {self.pick(ops)} {e('n', depth)})",
            lambda: f"({e('x', depth)} {self.pick(ops[:4])} {e('x', depth)})",
            lambda: f"({e('b', depth)} {self.pick(['and', 'or'])} {e('x', depth)})",
            lambda: f"!{e('x', depth)}",
            lambda: f"isset({self.place('x', depth)})",
            lambda: f"is_{self.pick(['array', 'string', 'number', 'function', 'object'])}({e('x', depth)})",
            lambda: f"({e('s', depth)} {self.pick(['=~', '!~'])} {self.pick(PATTERNS)})",
        ]
        return str(self.pick(a)())

    def function(self, depth: int) -> str:
        if self.chance(0.4):
            return self.leaf("f")
        captured = self.pick([[], [], ["$n1"], ["$a1", "$x1"], ["$n2", "$s1"]])
        head = f" closure ({', '.join(captured)})" if captured else ""
        change = ""
        if captured and self.chance(0.6):
            name = self.pick(captured)
            change = f"{name} {self.pick(['+=', '='])} {self.pick(['1', '$x', '[1]', '2'])}; "
        result = self.pick(["$x", "$x . 1", "[$x]", "$x + 1", *captured])
        return f"function ($x{self.pick(['', ' = 1', ', ...$r'])}){head} {{ {change}return {result}; }}"

    def other(self, depth: int) -> str:
        return self.place("x", depth) if self.chance(0.6) else self.call(depth)

    def place(self, kind: str, depth: int) -> str:
        """Give a variable or a part of one."""
        base = self.pick([self.variable("a"), self.variable("x"), self.variable(kind), "$o1", "$o2"])
        for _ in range(self.pick([0, 1, 1, 2])):
            base += self.pick([f"[{self.key()}]", "->v", "->w", '["k"]', f"[{self.key()}]"])
        return base

    def call(self, depth: int) -> str:
        """Give a call of a function of the program or of the library."""
        if self.no_calls:
            return self.leaf("x")
        if self.chance(0.4) and self.functions:
            name, parameters, _ = self.pick(self.functions)
            return f"{name}({', '.join(self.expr('x', depth) for _ in range(parameters))})"
        if self.chance(0.3):
            return f"{self.variable('f')}({self.expr('x', depth)})"
        if self.chance(0.3):
            return f"{self.pick(['$o1', '$o2'])}->{self.pick(['get', 'set', 'both'])}({self.expr('x', depth)})"
        if self.chance(0.1):
            return f"f0(...{self.expr('a', depth)})"
        if self.chance(0.1):
            return f"Box::{self.pick(['$total', 'more(1)', '$total'])}"
        name, kinds = self.pick(PURE)
        args = [self.expr(k, depth) if k != "c" else '","' for k in kinds]
        return f"{name}({', '.join(args)})"

    # ---- statements ---------------------------------------------------------------------------------

    def block(self, most: int = 4) -> None:
        self.indent += 1
        for _ in range(self.below(most) + 1):
            self.statement()
        self.indent -= 1

    def statement(self) -> None:
        if len(self.lines) > 80 or self.indent > 4:
            self.line(f"echo {self.expr('x', 1)};")
            return
        many = [
            *[self.assignment] * 8,
            *[self.echo] * 4,
            *[self.attempt] * 3,
            self.branch,
            self.branch,
            self.loop,
            self.loop,
            self.each,
            self.each,
            self.switch,
            self.destructuring,
            self.removal,
            self.leave,
            self.nested,
        ]
        self.pick(many)()

    def echo(self) -> None:
        self.line(f"echo {self.expr()};")

    def assignment(self) -> None:
        kind = self.pick("nnnsssaaabfx")
        value = self.expr(kind)
        roll = self.below(10)
        if roll < 4:
            self.line(f"{self.variable(kind)} = {value};")
        elif roll < 5:
            self.line(f"{self.variable('x')} = {value};")
        elif roll < 7:
            place = self.pick(
                [f"{self.variable('a')}[{self.key()}]", f"{self.variable('a')}[]", "$o1->v", self.place("a", 1)]
            )
            self.line(f"{place} = {value};")
        elif roll < 9:
            self.no_calls = True  # a value that changes what it is added to has no defined result
            op, kind = self.pick([("+=", "n"), ("-=", "n"), (".=", "s"), (".=", "s"), ("+=", "a"), ("*=", "n"), ("%=", "n")])
            place = self.pick([self.variable(kind), self.variable(kind), f"{self.variable('a')}[{self.key()}]", "$o1->v"])
            self.line(f"{place} {op} {self.expr(kind, 0)};")
            self.no_calls = False
        else:
            place = self.pick([self.variable("n"), f"$a1[{self.key()}]", "$o1->v"])
            self.line(f"{place}{self.pick(['++', '--'])};")

    def attempt(self) -> None:
        self.line("try {")
        self.block(3)
        if self.chance(0.2):
            self.line(f"  throw {self.expr('x', 1)};")
        self.line("} catch ($e) {")
        self.line('  echo is_object($e) ? "error at " . $e->line() : $e;')
        self.line("}")

    def branch(self) -> None:
        self.line(f"if ({self.expr('b', 2)}) {{")
        self.block(3)
        if self.chance(0.5):
            self.line("} else {")
            self.block(3)
        self.line("}")

    def loop(self) -> None:
        i = f"$i{self.indent}"
        if self.chance(0.5):
            self.line(f"for ({i} = 0; {i} < {1 + self.below(4)}; {i}++) {{")
        else:
            self.line(f"{i} = {1 + self.below(4)};")
            self.line(f"while ({i} > 0{self.pick(['', '', ' and ' + self.expr('b', 1)])}) {{")
            self.line(f"  {i} -= 1;")
        self.round()

    def each(self) -> None:
        subject = self.expr("a", 1)
        makers = [f for f in self.functions if f[2]]
        if makers and self.chance(0.3):
            name, parameters, _ = self.pick(makers)
            subject = f"{name}({', '.join(self.expr('n', 1) for _ in range(parameters))})"
        value = self.pick([self.variable("x"), "$v", "$v", self.variable("n")])
        self.line(f"foreach ({subject} as {self.pick(['', '$k => ', '$k => '])}{value}) {{")
        if self.chance(0.5):
            self.line(f"  echo {self.pick(['$k ?? 0', value, value])};")
        self.round()

    def round(self) -> None:
        self.loops += 1
        self.block(3)
        self.loops -= 1
        self.line("}")

    def leave(self) -> None:
        if self.loops:
            self.line(f"if ({self.expr('b', 1)}) {self.pick(['break', 'continue'])};")
        elif self.in_function:
            self.line(f"if ({self.expr('b', 1)}) return{'' if self.yields else ' ' + self.expr('x', 1)};")
        else:
            self.echo()
        if self.yields:
            self.line(f"yield {self.expr('x', 1)};")

    def switch(self) -> None:
        self.line(f"switch ({self.expr('x', 1)}) {{")
        default = self.below(4)
        self.loops += 1
        for number in range(1 + self.below(3)):
            self.line(f"case {self.expr('x', 1)}:" if number != default else "default:")
            self.block(2)
            if self.chance(0.6):
                self.line("  break;")
        self.loops -= 1
        self.line("}")

    def destructuring(self) -> None:
        forms = [
            f"[{self.variable('x')}, {self.variable('n')} = {self.leaf('n')}, ...{self.variable('a')}]",
            f"[{self.variable('x')}, [{self.variable('s')}, {self.variable('n')} = 2]]",
            f'["k" => {self.variable("x")} = {self.leaf("x")}, {self.key()} => {self.variable("n")}]',
            f"[$a1[{self.key()}], $o1->v]",
        ]
        self.line(f"{self.pick(forms)} = {self.expr(self.pick('aaax'), 1)};")

    def removal(self) -> None:
        place = self.pick(
            [self.variable("x"), f"{self.variable('a')}[{self.key()}]", f"$a1[{self.bounds()}]", "$o1->v", '$a1["k"][0]']
        )
        self.line(f"{self.pick(['', 'echo '])}unset({place});")

    def nested(self) -> None:
        """Write a closure over what is here, called at once or kept."""
        if self.yields or self.in_method:
            self.echo()
            return
        captured = self.random.sample(["$n1", "$s1", "$a1", "$x1", "$n2"], 3)
        self.line(f"$f1 = function ($x) closure ({', '.join(captured)}) {{")
        self.with_body(2, captured)
        self.line("};")
        if self.chance(0.6):
            self.line(f"echo $f1({self.expr('x', 1)});")

    def with_body(self, most: int, given: Any) -> None:
        kept = (self.loops, self.in_function)
        self.loops, self.in_function = 0, True
        self.indent += 1
        self.assign_all(given)
        self.indent -= 1
        self.block(most)
        self.indent += 1
        if not self.yields:
            self.line(f"return {self.expr('x', 2)};")
        self.indent -= 1
        self.loops, self.in_function = kept

    def start(self) -> None:
        self.assign_all(())

    def assign_all(self, but: Any) -> None:
        """Give all variables values, but for those that have them, and now and then another one."""
        made = [f"${kind}{number} = {self.literal(kind)};" for kind in "nsabx" for number in (1, 2, 3)]
        made += ["$f1 = f0;", "$f2 = strlen;", "$o1 = Box(1);", "$o2 = Box([1, 2]);"]
        self.line(" ".join(text for text in made if text.split()[0] not in but and self.chance(0.99)))

    def literal(self, kind: str) -> str:
        while "$" in (leaf := self.leaf(kind)) and "''" not in leaf:
            pass
        return leaf

    def define(self) -> None:
        name = self.fresh("g")
        parameters = self.below(3)
        names = ["$x1", self.pick(["$n1", "$a1", "$s1"])][:parameters]
        yields = self.chance(0.3)
        known = list(self.functions)
        self.line(f"function {name}({', '.join(names)}) {{")
        self.indent += 1
        shared = [v for v in self.random.sample(["$n1", "$n2", "$a1", "$s2", "$x2"], self.below(3)) if v not in names]
        if shared:
            self.line(f"global {', '.join(shared)};")
        self.indent -= 1
        self.yields = yields
        if yields:
            self.line("  yield 1;")
        self.with_body(4, names + shared)
        self.yields = False
        self.line("}")
        self.functions = [*known, (name, parameters, yields)]

    def box(self) -> None:
        self.line("class Box {")
        how = self.pick(["", "private ", "readonly "])
        self.line(f"  $v = {self.literal('x')}; {how}$w = {self.literal('n')}; static $total = 0;")
        self.line("  constructor($v) { $this->v = $v; Box::$total += 1; }")
        self.line("  function get($x1) {")
        self.in_method = True
        self.indent += 1
        self.with_body(2, ["$x1"])
        self.indent -= 1
        self.line("  }")
        change = self.pick(["$this->v = $v", "$this->v[] = $v", "$this->w = $v", "$this[$v] = 1"])
        self.line(f"  function set($v) {{ {change}; return $this; }}")
        self.line("  function both($v) { return [$this->v, $this->w, $v]; }")
        self.line("  static function more($n) { static::$total += $n; return static::$total; }")
        self.in_method = False
        self.line("}")

    def program(self) -> str:
        self.line("function f0($x = 1) { return $x; }")
        self.box()
        for _ in range(self.below(4)):
            self.define()
        self.start()
        for _ in range(3 + self.below(self.size)):
            self.pick([self.attempt, self.attempt, self.statement])()
        self.line("echo [$n1 ?? 0, $s1 ?? 0, $a1 ?? 0, $x1 ?? 0, $a2 ?? 0, $x2 ?? 0, $o1->v ?? 0];")
        return "\n".join(self.lines) + "\n"


def program(random: Random, size: int = 14) -> str:
    """Give the text of one program."""
    return Writer(random, size).program()
