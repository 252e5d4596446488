"""Statements become Python statements. In: the resolved body of a unit. Out: a list of `ast` statements.

Loops count their rounds against the run's steps; `break` and `continue` of HSL are Python's, but within a `switch` that
falls through. Fast forms of the usual assignments stand here; the general ones are expressions (`targets.py`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from hslpy.lang import resolved as r
from hslpy.lang.compile.context import Context
from hslpy.lang.compile.forms import Forms
from hslpy.lang.compile.types import ARR, INT, STR, Flow, HasKey, changed_by, constant_array, forget, meet, walk
from hslpy.lang.runtime import LONG_TEXT

_LONG_BLOCK = 200  # statements after which a step is counted, so that steps stay short
_LONG_CHAIN = 40  # else-ifs after which a chain goes on in a new `if`: Python's compiler recurses over them


class Statements(Forms):
    """The statement half of a unit's compiler.

    `again` makes the statements that begin the next round of the loop at hand; `leave` those that end it or the switch.
    """

    def __init__(self, context: Context, unit: r.Unit) -> None:
        super().__init__(context, unit)
        self.again: Callable[[], list[ast.stmt]] = list
        self.leave: Callable[[], list[ast.stmt]] = list
        self.counts_depth = False
        self.uses_steps = False
        self.tries = 0

    def block(self, statements: Sequence[r.Stmt]) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for number, statement in enumerate(statements, 1):
            found.extend(self.statement(statement))
            if number % _LONG_BLOCK == 0:
                found.extend(self.count_round())
        return found

    def statement(self, node: r.Stmt) -> list[ast.stmt]:
        saved = self.b.line
        self.b.line = self.context.line_of(node.span)
        self._temps = 0
        self.widen(_own_parts(node))
        result = self._statement(node)
        self.b.line = saved
        return result

    def _statement(self, node: r.Stmt) -> list[ast.stmt]:
        b = self.b
        match node:
            case r.Do():
                return self.do(node.value)
            case r.Echo():
                if self.types.of(node.value) == STR:
                    return [b.do(b.call("echo", self.value(node.value)))]
                return [b.do(b.call("echo", b.call("to_echo", self.run(), self.value(node.value))))]
            case r.If():
                return self.if_(node)
            case r.Loop():
                return self.loop(node)
            case r.Foreach():
                return self.foreach(node)
            case r.Switch():
                return self.switch(node)
            case r.Break():
                return self.end(None) if node.outside else self.leave()
            case r.Continue():
                return self.end(None) if node.outside else self.again()
            case r.Return():
                return self.end(node.value)
            case r.Try():
                return self.try_(node)
            case r.BarrierOf():
                return self.barrier_of(node)
            case r.Throw():
                return [b.do(b.call("throw", self.run(), self.value(node.value)))]
            case r.RunModule():
                return self.run_module(node)
        raise TypeError(f"no way to compile {type(node).__name__}")

    def run_module(self, node: r.RunModule) -> list[ast.stmt]:
        b = self.b
        name = f"m{node.module.unit.id}"
        return [b.when(b.compare(b.name(f"done_{name}"), "is", b.const(False)), [b.do(b.call(name))])]

    # ---- expression statements -------------------------------------------------------------------

    def do(self, node: r.Expr) -> list[ast.stmt]:
        saved = self.b.line
        self.b.line = self.context.line_of(node.span)
        result = self._do(node)
        self.b.line = saved
        return result

    def _do(self, node: r.Expr) -> list[ast.stmt]:
        b = self.b
        if isinstance(node, r.AssignTo):
            appended = self.appended(node)
            if appended is not None:
                return appended
            if isinstance(node.target, r.Read):
                if node.op is not None:
                    value = self.operated(node.op, node.target, node.value)
                elif node.target.var.is_altered:
                    value = self.owned(node.value)
                else:
                    value = self.borrowed(node.value) if isinstance(node.value, r.ArrayNew) else self.owned(node.value)
                return [self.set_var(node.target.var, value, self.types.of(node))]
            if isinstance(node.target, r.Places):
                return [b.do(step) for step in self.destructure(node.target, node.value)[:-1]]
            if isinstance(node.target, r.Element) and node.op is None:
                return self.set_element(node.target, node.value)
        if isinstance(node, r.Step) and isinstance(node.target, r.Read):
            return [self.set_var(node.target.var, self.stepped(node.target, node.by), self.types.of(node))]
        if isinstance(node, r.Step):
            node = r.Step(node.span, node.by, node.target, True)
        return [b.do(self.value(node))]

    def set_var(self, var: r.Var, value: ast.expr, bits: int | None = None) -> ast.stmt:
        self.stores.add(var)
        self.note_assigned(var, bits)
        return self.b.set_(self.context.variable(var), value)

    def appended(self, node: r.AssignTo) -> list[ast.stmt] | None:
        """Compile `$s .= x` and `$s = $s . x` so that Python grows the string in place; None for other assignments."""
        target = node.target
        if not isinstance(target, r.Read) or not self.is_plain(target):
            return None
        if self.types.of(target) != STR:
            return None
        if node.op in (".", ".?"):
            parts: tuple[r.Expr, ...] = node.value.parts if isinstance(node.value, r.Text) else (node.value,)
        elif node.op is None and isinstance(node.value, r.Text):
            first = node.value.parts[0]
            if not (isinstance(first, r.Read) and first.var is target.var):
                return None
            parts = node.value.parts[1:]
        else:
            return None
        if any(isinstance(x, r.Read) and x.var is target.var for x in walk(parts)):
            return None
        b = self.b
        name = self.context.variable(target.var)
        self.stores.add(target.var)
        tail = self.text(parts) if len(parts) > 1 else self.text_part(parts[0])
        forget(self.assigned, target.var)
        before: list[ast.stmt] = []
        is_short = isinstance(tail, ast.Constant) or (isinstance(parts[0], r.Const) and len(parts) == 1)
        if not isinstance(tail, (ast.Constant, ast.Name)):
            piece = self.temp()
            before.append(b.set_(piece, tail))
            tail = b.name(piece)
        small = b.compare(b.call("len", b.name(name)), "<", b.const(LONG_TEXT))
        if not is_short:
            small = b.all_of([small, b.compare(b.call("len", tail), "<", b.const(LONG_TEXT))])
        address = self.temp()
        if target.var.is_captured:
            # CPython grows only locals in place: the text moves to one, and nothing else holds it meanwhile
            local = self.temp()
            moved = [
                b.set_(local, b.name(name)),
                b.set_(name, b.const(None)),
                b.add_to(local, tail),
                b.set_(name, b.name(local)),
            ]
            moved.append(b.set_(local, b.const(None)))
        else:
            moved = [b.add_to(name, tail)]
        grow = [
            b.do(b.call("about_to_grow", self.run(), tail)),
            b.set_(address, b.call("id", b.name(name))),
            *moved,
            b.do(b.call("grown", self.run(), b.name(name), b.name(address))),
        ]
        return [*before, b.when(small, moved, grow)]

    def set_element(self, target: r.Element, value: r.Expr) -> list[ast.stmt]:
        """Compile `$a[k] = v`, `$a[] = v` and `$this->x = v` in the usual cases."""
        b = self.b
        base = target.base
        constant = self.constant_key(target.key)
        if self.is_this(base) and isinstance(constant, str) and self.is_own_field(constant):
            return [b.set_item(b.attr(self.value(base), "fields"), b.const(constant), self.owned(value))]
        if not isinstance(base, r.Read) or base.var is self.unit.this or not self.types.of(base) & ARR:
            return [b.do(self.store(target, value))]
        result: list[ast.stmt] = []
        tests: list[ast.expr] = [] if self.types.of(base) == ARR and self.is_plain(base) else [b.name("")]
        raw: ast.expr = b.name("UNSET")
        kind = INT
        if constant is not None:
            raw = b.const(constant)
        elif target.key is not None:
            kind = self.types.of(target.key)
            if self.is_plain(target.key) and self.is_stable(target.key, value):
                raw = self.value(target.key)
            else:
                held = self.temp()
                result.append(b.set_(held, self.value(target.key)))
                raw = b.name(held)
        new = self.owned(value)
        if not isinstance(new, (ast.Constant, ast.Name)):
            held = self.temp()
            result.append(b.set_(held, new))
            new = b.name(held)
        name = b.name(self.context.variable(base.var))
        if tests:
            tests = [b.is_kind(name, "Array")]  # a variable without value holds UNSET, or is no array
        items, following = b.attr(name, "items"), b.attr(name, "next_index")
        write = [b.when(b.attr(name, "shared"), [b.do(b.call("unshare", self.run(), name))])]
        if target.key is None:
            write += [b.set_item(items, following, new), b.add_to_attr(name, "next_index", b.const(1))]
        elif isinstance(constant, str):
            write.append(b.set_item(items, raw, new))
        elif kind == INT:
            key = raw
            if constant is None:
                held = self.temp()
                write.append(b.set_(held, b.call("int", raw)))
                key = b.name(held)
            beyond = b.compare(key, ">=", following)
            raised = [b.set_attr(name, "next_index", b.binary("+", key, b.const(1)))]
            write += [b.set_item(items, key, new), b.when(beyond, raised)]
        else:  # a string that cannot look like a number; `put` does the rest
            known = self.known_key(target.key)
            if known is not None and not tests and self.types.is_there(target):
                raw = b.name(known)  # it was there, so nothing is to be numbered
            elif known is not None:
                tests.append(b.compare(b.name(known), "is", raw))
            else:
                if kind != STR:
                    tests.append(b.is_kind(raw, "str"))
                tests.append(b.compare(raw, ">", b.const(":")))
            write.append(b.set_item(items, raw, new))
        if not tests:
            return result + write
        slow_key = b.const(target.key.value) if isinstance(target.key, r.Const) else raw
        sure_array = self.types.of(base) == ARR and self.is_plain(base)
        holder = name if sure_array else self.holder(base)  # `put` unshares
        slow = b.call("put", self.run(), holder, slow_key, new, self.inside(target.class_def))
        return [*result, b.when(b.all_of(tests), write, [b.do(slow)])]

    # ---- control flow ----------------------------------------------------------------------------

    def branch(self, statements: Sequence[r.Stmt]) -> tuple[list[ast.stmt], Flow | None]:
        """Compile a branch; give what is sure after it, None where its end is not reached."""
        before = dict(self.assigned)
        body = self.block(statements)
        after = None if statements and isinstance(statements[-1], _ENDING) else self.assigned
        self.assigned = before
        return body, after

    def merge(self, branches: Sequence[Flow | None]) -> None:
        """Note as known what is so at the end of all branches that go on."""
        going = [branch for branch in branches if branch is not None]
        if going:
            self.assigned = meet(going)

    def if_(self, node: r.If) -> list[ast.stmt]:
        b = self.b
        compiled: list[tuple[ast.expr, list[ast.stmt]]] = []
        sure: list[Flow | None] = []
        for number, (condition, body) in enumerate(node.branches):
            self._temps = 0
            test = self.test(condition) if number == 0 else self.conditionally(lambda c=condition: self.test(c))  # type: ignore[misc]
            before = dict(self.assigned)
            self.note_there(condition)
            statements, after = self.branch(body)
            self.assigned = before
            compiled.append((test, statements))
            sure.append(after)
        otherwise, after = self.branch(node.otherwise)
        sure.append(after)
        self.merge(sure)
        if len(compiled) <= _LONG_CHAIN:
            return [self.chain(compiled, otherwise)]
        missed = self.keep()
        result: list[ast.stmt] = [b.set_(missed, b.const(True))]
        for start in range(0, len(compiled), _LONG_CHAIN):
            part = [(test, [b.set_(missed, b.const(False)), *body]) for test, body in compiled[start : start + _LONG_CHAIN]]
            result.append(b.when(b.name(missed), [self.chain(part, [])]))
        if otherwise:
            result.append(b.when(b.name(missed), otherwise))
        return result

    def note_there(self, condition: r.Expr) -> None:
        """Note the elements that are there where the condition holds."""
        changed = {var for var, _ in changed_by([condition])}
        for part in condition.operands if isinstance(condition, r.Logic) and condition.op == "and" else (condition,):
            match part:
                case r.IssetOf(target=r.Element(base=r.Read() as base, key=r.Read() as key)):
                    is_ours = not base.var.is_captured and base.var.owner is self.unit and self.types.of(base) == ARR
                    if is_ours and self.is_plain(base) and self.has_key(key) and not {base.var, key.var} & changed:
                        self.assigned[HasKey(base.var, key.var)] = None

    def chain(self, branches: Sequence[tuple[ast.expr, list[ast.stmt]]], otherwise: list[ast.stmt]) -> ast.stmt:
        for test, body in reversed(branches):
            otherwise = [self.b.when(test, body, otherwise)]
        return otherwise[0]

    def count_round(self) -> list[ast.stmt]:
        """Count a step at the beginning of a round."""
        b = self.b
        self.uses_steps = True
        return [
            b.add_to("steps", b.const(1), "-"),
            b.when(b.compare(b.name("steps"), "<", b.const(0)), [b.set_("steps", b.call("next_slice"))]),
        ]

    def loop_body(self, statements: Sequence[r.Stmt], again: Callable[[], list[ast.stmt]]) -> list[ast.stmt]:
        saved = self.again, self.leave
        self.again = again
        self.leave = lambda: [self.b.leave()]
        before = dict(self.assigned)
        body = self.block(statements)
        self.assigned = before
        self.again, self.leave = saved
        return body

    def loop(self, node: r.Loop) -> list[ast.stmt]:
        b = self.b
        result: list[ast.stmt] = []
        for part in node.start:
            self._temps = 0
            result.extend(self.do(part))
        self._temps = 0
        self.widen([node.condition, node.body, node.step])
        test = self.test(node.condition) if node.condition is not None else b.const(True)
        sure = dict(self.assigned)

        def again() -> list[ast.stmt]:
            return [*self.step_parts(node.step), b.again()]

        body = self.loop_body(node.body, again)
        step = self.step_parts(node.step)
        self.assigned = sure
        # Not `while test`: CPython 3.11 specialises a function's code at unconditional backward jumps only, and without
        # that no string grows in place.
        leave = [] if node.condition is None else [b.when(b.no(test), [b.leave()])]
        result.append(b.loop(b.const(True), [*leave, *self.count_round(), *body, *step]))
        return result

    def step_parts(self, parts: Sequence[r.Expr]) -> list[ast.stmt]:
        before = dict(self.assigned)
        result: list[ast.stmt] = []
        for part in parts:
            self._temps = 0
            self.widen([part])
            result.extend(self.do(part))
        self.assigned = before
        return result

    def foreach(self, node: r.Foreach) -> list[ast.stmt]:
        b = self.b
        subject = self.keep()
        source, subject_type = b.name(subject), self.types.of(node.subject)
        key_type = STR | INT if subject_type == ARR else None
        value_type = self.types.elements_of(node.subject) if subject_type == ARR else None
        result: list[ast.stmt] = [b.set_(subject, self.borrowed(node.subject))]
        fresh = self.is_fresh(node.subject) and constant_array(node.subject) is None
        pairs = node.key is not None
        items = b.call(b.attr(b.attr(source, "items"), "items" if pairs else "values"))
        mark = [] if fresh or self.is_left_alone(node) else [b.set_attr(source, "shared", b.const(True))]
        entries = self.keep()
        count_round = self.count_round
        if subject_type == ARR and not _ends_early(node.body):
            # all rounds are counted beforehand; those of a long array a stretch at a time
            count_round = list
            self.uses_steps = True
            rounds = self.keep()
            few = b.compare(b.walrus(rounds, b.call("len", b.attr(source, "items"))), "<", b.name("steps"))
            counted = [b.add_to("steps", b.name(rounds), "-"), b.set_(entries, items)]
            stretches = b.call("paced", self.run(), items, b.name(rounds))
            result += [*mark, b.when(few, counted, [b.set_(entries, stretches)])]
            iterated = b.name(entries)
        elif subject_type == ARR:
            result.extend(mark)
            iterated = items
        else:
            other = b.call("iterate_pairs" if pairs else "iterate", self.run(), source)
            result.append(b.when(b.is_kind(source, "Array"), [*mark, b.set_(entries, items)], [b.set_(entries, other)]))
            iterated = b.name(entries)
        self.widen([node])
        sure = dict(self.assigned)
        names: list[str] = []
        head: list[ast.stmt] = []
        if node.key is not None:
            name = self.loop_name(node.key)
            names.append(name)
            if isinstance(node.key, r.Read):
                self.note_assigned(node.key.var, key_type)
            head.append(b.when(b.is_kind(b.name(name), "int"), [b.set_(name, b.call("float", b.name(name)))]))
            if not isinstance(node.key, r.Read):
                head.append(b.do(self.store_value(node.key, b.name(name))))
        name = self.loop_name(node.value)
        names.append(name)
        if not fresh and (value_type is None or value_type & ARR):
            shared = b.set_(name, b.call(b.attr(b.name(name), "share")))
            head.append(b.when(b.is_kind(b.name(name), "Array"), [shared]))
        if isinstance(node.value, r.Read):
            self.note_assigned(node.value.var, value_type)
        else:
            head.append(b.do(self.store_value(node.value, b.name(name))))
        body = self.loop_body(node.body, lambda: [b.again()])
        self.assigned = sure
        result.append(b.each(names, iterated, [*count_round(), *head, *body]))
        result.append(b.set_(subject, b.const(None)))
        return result

    def loop_name(self, target: r.Expr) -> str:
        """Give the Python variable that a foreach assigns."""
        if isinstance(target, r.Read):
            self.stores.add(target.var)
            return self.context.variable(target.var)
        return self.keep()

    def is_left_alone(self, node: r.Foreach) -> bool:
        """Say whether nothing can alter the array in the variable while the loop goes over it."""
        if not isinstance(node.subject, r.Read) or node.subject.var.is_captured:
            return False
        var = node.subject.var
        if not var.is_altered:
            return True
        for part in walk(node.body):
            if isinstance(part, (r.AssignTo, r.Step, r.UnsetOf)):
                for place in walk([part.target]):
                    if isinstance(place, r.Read) and place.var is var:
                        return False
        return True

    def switch(self, node: r.Switch) -> list[ast.stmt]:
        """Compile a switch: as an if-chain where no case falls through into another, else as a loop run once."""
        b = self.b
        subject = self.keep()
        held = r.Held(node.subject.span, subject, self.types.of(node.subject))
        result: list[ast.stmt] = [b.set_(subject, self.value(node.subject))]
        chosen = self.keep()
        # which case: the tests in order, default (wherever it stands) when none holds
        cases = node.cases
        default = next((number for number, case in enumerate(cases) if case.test is None), len(cases))
        tests: list[tuple[ast.expr, list[ast.stmt]]] = []
        self.widen([node])
        sure = dict(self.assigned)
        for number, case in enumerate(cases):
            if case.test is not None:
                self._temps = 0
                test = self.equality("==", held, case.test)
                tests.append((test, [b.set_(chosen, b.const(number))]))
        self.assigned = dict(sure)
        pick = self.long_chain(tests, [b.set_(chosen, b.const(default))])
        flag = self.keep()
        continues = [False]

        def again() -> list[ast.stmt]:
            continues[0] = True
            return [b.set_(flag, b.const(True)), b.leave()]

        saved = self.again, self.leave
        outer_again = self.again
        self.again, self.leave = again, lambda: [b.leave()]
        body: list[ast.stmt] = [*pick]
        for number, case in enumerate(cases):
            statements = self.block(case.body)
            self.assigned = dict(sure)
            if statements:
                body.append(b.when(b.compare(b.name(chosen), "<=", b.const(number)), statements))
        body.append(b.leave())
        self.again, self.leave = saved
        if continues[0]:
            result.append(b.set_(flag, b.const(False)))
        result.append(b.loop(b.const(True), body))
        if continues[0]:
            result.append(b.when(b.name(flag), outer_again()))
        return result

    def long_chain(self, branches: Sequence[tuple[ast.expr, list[ast.stmt]]], otherwise: list[ast.stmt]) -> list[ast.stmt]:
        """Give an if-chain, however long; its bodies only set a variable."""
        if len(branches) <= _LONG_CHAIN:
            return [self.chain(branches, otherwise)] if branches else otherwise
        b = self.b
        missed = self.keep()
        result: list[ast.stmt] = [b.set_(missed, b.const(True))]
        for start in range(0, len(branches), _LONG_CHAIN):
            part = [(test, [b.set_(missed, b.const(False)), *body]) for test, body in branches[start : start + _LONG_CHAIN]]
            result.append(b.when(b.name(missed), [self.chain(part, [])]))
        return [*result, b.when(b.name(missed), otherwise)]

    def try_(self, node: r.Try) -> list[ast.stmt]:
        b = self.b
        depth, error = self.keep(), self.keep()
        self.tries += 1
        self.widen([node])
        before = dict(self.assigned)
        body = self.block(node.body)
        self.assigned = dict(before)
        level = "base" if self.unit.is_generator else depth  # a generator may have gone on at another depth
        handler: list[ast.stmt] = [b.set_("depth", b.name(level))]
        caught = b.call("caught", self.run(), b.name(error))
        if isinstance(node.variable, r.Read):
            handler.append(self.set_var(node.variable.var, caught))
        else:
            handler.append(b.do(self.store_value(node.variable, caught)))
        handler.extend(self.block(node.handler))
        self.assigned = before
        return [b.set_(depth, b.name("depth")), b.attempt(body, "CATCHABLE", error, handler)]

    def barrier_of(self, node: r.BarrierOf) -> list[ast.stmt]:
        b = self.b
        barrier = self.keep()
        result = [b.set_(barrier, b.call("enter_barrier", self.run(), self.value(node.name), b.name("UNSET")))]
        shared = b.name("UNSET")
        value = b.attr(b.name(barrier), "value")
        if isinstance(node.variable, r.Read):
            result.append(self.set_var(node.variable.var, value))
            shared = b.name(self.context.variable(node.variable.var))
        elif node.variable is not None:
            fact = [b.name("facts"), b.const(node.variable.name)]
            result.append(b.do(b.call("set_fact", *fact, value)))
            unset = b.compare(value, "is", b.name("UNSET"))
            result.append(b.when(unset, [b.do(b.call("unset_fact", *fact))]))
            shared = b.call("fact", *fact)
        body = self.block(node.body)
        leave = b.call("leave_barrier", self.run(), b.name(barrier), shared, b.name("UNSET"))
        return [*result, b.at_last(body, [b.do(leave)])]

    def end(self, value: r.Expr | None) -> list[ast.stmt]:
        """Return from the unit; a function that counts its depth gives it back first."""
        b = self.b
        if self.unit.kind == "module":
            drop = [b.do(self.value(value))] if value is not None and not isinstance(value, (r.Const, r.Read)) else []
            return [*drop, b.give(None)]
        result = b.const(None) if value is None else self.returned(value)
        if not self.counts_depth:
            return [b.give(result)]
        up = b.add_to("depth", b.const(1))
        if isinstance(result, (ast.Constant, ast.Name)):
            return [up, b.give(result)]
        held = self.temp()
        return [b.set_(held, result), up, b.give(b.name(held))]

    def returned(self, node: r.Expr) -> ast.expr:
        """Give a returned value as the caller's own. A local's array needs no sharing: the local goes away."""
        if isinstance(node, r.Read) and not node.var.is_captured and node.var.owner is self.unit:
            borrowed = (node.var.is_param and not node.var.is_altered) or node.var in self.types.constants
            return self.owned(node) if borrowed else self.value(node)
        return self.owned(node)


def _own_parts(node: r.Stmt) -> list[object]:
    """Give the expressions of a statement itself in which variables may be assigned on the way."""
    match node:
        case r.Do(value=r.AssignTo(target=r.Read(), value=value)):
            return [value]
        case r.Do(value=r.Step(target=r.Read())):
            return []
        case r.Do() | r.Echo() | r.Return() | r.Throw():
            return [node.value]
        case r.If():
            return [condition for condition, _ in node.branches]
        case r.Foreach() | r.Switch():
            return [node.subject]
        case r.BarrierOf():
            return [node.name]
        case r.Loop():
            return [p.value if isinstance(p, r.AssignTo) and isinstance(p.target, r.Read) else p for p in node.start]
    return []


def _ends_early(body: Sequence[r.Stmt]) -> bool:
    """Say whether a loop with that body may be left before its end, but by an error."""
    todo: list[tuple[r.Stmt, bool]] = [(statement, True) for statement in body]
    while todo:
        node, is_ours = todo.pop()
        parts: list[Sequence[r.Stmt]] = []
        match node:
            case r.Return():
                return True
            case r.Break() | r.Continue():
                if node.outside or (is_ours and isinstance(node, r.Break)):
                    return True
            case r.If():
                parts = [*(part for _, part in node.branches), node.otherwise]
            case r.Loop() | r.Foreach():
                parts, is_ours = [node.body], False
            case r.Switch():
                parts, is_ours = [case.body for case in node.cases], False
            case r.Try():
                parts = [node.body, node.handler]
            case r.BarrierOf():
                parts = [node.body]
        todo.extend((statement, is_ours) for part in parts for statement in part)
    return False


_ENDING = (r.Return, r.Throw, r.Break, r.Continue)
