"""Random nestings of loops, switches, tries and functions against a model that walks the same tree."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hslpy.builtins import for_hook
from hslpy.lang.load import load_program
from hslpy.lang.run import Run, execute
from hslpy.lang.source import Source

TABLE = for_hook(None)
NAMES = ("a", "b")

# Values are numbers and texts; a condition is `$x == n`. Nodes are tuples, the kind first.
NUMBER = st.integers(0, 3)
LEAF = st.one_of(
    st.tuples(st.just("set"), st.sampled_from(NAMES), NUMBER),
    st.tuples(st.just("add"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("text"), st.sampled_from(NAMES)),
    st.tuples(st.just("echo"), st.sampled_from(NAMES)),
    st.tuples(st.just("unset"), st.sampled_from(NAMES)),
    st.tuples(st.just("default"), st.sampled_from(NAMES), NUMBER),
    st.just(("break",)),
    st.just(("continue",)),
    st.just(("throw",)),
    st.just(("return",)),
)


def blocks(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    body = st.lists(inner, max_size=4)
    test = st.tuples(st.sampled_from(NAMES), NUMBER)
    return st.one_of(
        st.tuples(st.just("if"), test, body, body),
        st.tuples(st.just("foreach"), st.sampled_from([*NAMES, "i"]), body),
        st.tuples(st.just("for"), body),
        st.tuples(st.just("while"), test, body),
        st.tuples(
            st.just("switch"), st.sampled_from(NAMES), st.lists(st.tuples(st.one_of(NUMBER, st.none()), body), max_size=4)
        ),
        st.tuples(st.just("try"), body, body),
        st.tuples(st.just("call"), body),
        st.tuples(st.just("closure"), body),
    )


PROGRAM = st.lists(st.recursive(LEAF, blocks, max_leaves=25), min_size=1, max_size=6)


class Break(Exception):
    pass


class Continue(Exception):
    pass


class Return(Exception):
    pass


class Fault(Exception):
    pass


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else str(int(value))


class Model:
    """Walks the tree and writes the program; `loops` says whether `break` and `continue` mean one."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.steps = 0

    def run(self, nodes: Any, scope: dict[str, Any], loops: int, switches: int) -> None:
        for node in nodes:
            self.one(node, scope, loops, switches)

    def get(self, scope: dict[str, Any], name: str) -> Any:
        if name not in scope:
            raise Fault
        return scope[name]

    def equals(self, value: Any, number: int) -> bool:
        if isinstance(value, str):
            try:
                return float(value) == number
            except ValueError:
                return number == 0
        return bool(value == number)

    def one(self, node: Any, scope: dict[str, Any], loops: int, switches: int) -> None:
        self.steps += 1
        if self.steps > 2000:
            raise OverflowError
        match node:
            case ("set", name, value):
                scope[name] = value
            case ("add", name, other):
                left, right = self.get(scope, name), self.get(scope, other)
                scope[name] = self.number(left) + self.number(right)
            case ("text", name):
                scope[name] = text_of(self.get(scope, name)) + "."
            case ("echo", name):
                self.said.append(text_of(self.get(scope, name)))
            case ("unset", name):
                scope.pop(name, None)
            case ("default", name, value):
                scope[name] = scope.get(name, value)
            case ("break",):
                raise Break if loops or switches else Return
            case ("continue",):
                raise Continue if loops else Return
            case ("throw",):
                raise Fault
            case ("return",):
                raise Return
            case ("if", (name, value), then, otherwise):
                self.run(then if self.equals(self.get(scope, name), value) else otherwise, scope, loops, switches)
            case ("foreach", name, body):
                for value in (5, 6):
                    scope[name] = value
                    if not self.round(body, scope, loops):
                        break
            case ("for", body):
                for _ in range(2):
                    if not self.round(body, scope, loops):
                        break
            case ("while", (name, value), body):
                count = 0
                while count < 3 and self.equals(self.get(scope, name), value):
                    count += 1
                    if not self.round(body, scope, loops):
                        break
            case ("switch", name, cases):
                value = self.get(scope, name)
                chosen = next(
                    (n for n, (test, _) in enumerate(cases) if test is not None and self.equals(value, test)), None
                )
                if chosen is None:
                    chosen = next((n for n, (test, _) in enumerate(cases) if test is None), len(cases))
                try:
                    for _, body in cases[chosen:]:
                        self.run(body, scope, loops, switches + 1)
                except Break:
                    pass
            case ("try", body, handler):
                try:
                    self.run(body, scope, loops, switches)
                except Fault:
                    self.run(handler, scope, loops, switches)
            case ("call", body):
                with contextlib.suppress(Return):
                    self.run(body, {"a": 1}, 0, 0)
            case ("closure", body):
                with contextlib.suppress(Return):
                    self.run(body, scope, 0, 0)

    def number(self, value: Any) -> float:
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                return 0.0
        return float(value)

    def round(self, body: Any, scope: dict[str, Any], loops: int) -> bool:
        try:
            self.run(body, scope, loops + 1, 0)
        except Break:
            return False
        except Continue:
            pass
        return True


class Writer:
    """Writes the tree as HSL, each counter under a name of its own."""

    def __init__(self) -> None:
        self.count = 0

    def block(self, nodes: Any) -> str:
        return "{ " + " ".join(self.one(node) for node in nodes) + " }"

    def one(self, node: Any) -> str:
        self.count += 1
        counter = f"$n{self.count}"
        match node:
            case ("set", name, value):
                return f"${name} = {value};"
            case ("add", name, other):
                return f"${name} = ${name} + ${other};"
            case ("text", name):
                return f'${name} .= ".";'
            case ("echo", name):
                return f"echo ${name};"
            case ("unset", name):
                return f"unset(${name});"
            case ("default", name, value):
                return f"${name} = ${name} ?? {value};"
            case ("break" | "continue" | "return" as word,):
                return f"{word};"
            case ("throw",):
                return 'throw "fault";'
            case ("if", (name, value), then, otherwise):
                return f"if (${name} == {value}) {self.block(then)} else {self.block(otherwise)}"
            case ("foreach", name, body):
                return f"foreach ([5, 6] as ${name}) {self.block(body)}"
            case ("for", body):
                return f"for ({counter} = 0; {counter} < 2; {counter}++) {self.block(body)}"
            case ("while", (name, value), body):
                return f"{counter} = 0; while ({counter} < 3 and ${name} == {value}) {{ {counter}++; {self.block(body)} }}"
            case ("switch", name, cases):
                labels = []
                seen = False
                for test, body in cases:
                    label = "default:" if test is None and not seen else f"case {9 if test is None else test}:"
                    seen = seen or test is None
                    labels.append(label + " " + self.block(body))
                return f"switch (${name}) {{ {' '.join(labels)} }}"
            case ("try", body, handler):
                return f"try {self.block(body)} catch ($e) {self.block(handler)}"
            case ("call", body):
                return f"(function () {{ $a = 1; {self.block(body)} }})();"
            case ("closure", body):
                return f"(function () closure ($a, $b, $i) {self.block(body)})();"
        raise AssertionError(node)


FRAMES = {
    "module": "$a = 1; {body} echo 'end';",
    "function": "function run() {{ $a = 1; {body} echo 'end'; }} run();",
    "globals": "$a = 1; function run() {{ global $a, $b, $i; {body} echo 'end'; }} run();",
}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(PROGRAM, st.sampled_from(sorted(FRAMES)))
def test_control_flow(nodes: Any, frame: str) -> None:
    model = Model()
    outcome = "end"
    try:
        model.run(nodes, {"a": 1}, 0, 0)
        model.said.append("end")
    except Return:
        pass
    except Fault:
        outcome = "fault"
    except OverflowError:
        return
    text = FRAMES[frame].format(body=Writer().block(nodes)).replace("'", '"')
    loaded = load_program("main.hsl", lambda path, importer: Source(path, text), TABLE, {})
    assert loaded.program is not None, [d.message for d in loaded.diagnostics]
    for _ in range(2):
        said: list[str] = []
        got = "end"
        try:
            execute(loaded.program, Run(echo=said.append))
        except Exception as error:
            got = "fault" if hasattr(error, "code") else repr(error)
        assert (got, said) == (outcome, model.said), text
