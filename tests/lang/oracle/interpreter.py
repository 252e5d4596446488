"""HSL run by walking its syntax nodes: slow, plain, and written apart from the compiler.

In: the text of a script and of the files it imports. Out: what it echoes, and the code and line of the error it ends with.
The parser and the builtin functions are the real ones; everything between them is here and in `rules.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hslpy.builtins import for_hook
from hslpy.clock import ManualClock
from hslpy.errors import ScriptError
from hslpy.lang import syntax as s
from hslpy.lang.iterators import Pairs
from hslpy.lang.nesting import children_of
from hslpy.lang.parse import parse
from hslpy.lang.regex import matches
from hslpy.lang.run import BoundBuiltin, Run
from hslpy.lang.source import Source
from hslpy.lang.values import Array, HslFunction, HslObject, Regex
from tests.lang.oracle import rules
from tests.lang.oracle.places import Places
from tests.lang.oracle.rules import Arr, Fault, Foreign, Func, Obj, Skip, Value, copied, kind, truth
from tests.lang.oracle.scopes import EMPTY, MISSING, Break, Cell, Class, Continue, Frame, Generator, Module, Return, walk

TABLE = for_hook(None)
MOST_STEPS = 20_000  # of a random program
MOST_DEPTH = 60


class Oracle(Places):
    def __init__(self, files: Mapping[str, str], steps: int) -> None:
        self.files = files
        self.most_steps = steps
        self.said: list[str] = []
        self.steps = 0
        self.depth = 0
        self.modules: dict[str, Module] = {}
        self.run = Run(clock=ManualClock(), random=random.Random(1))
        self.run.begin()
        self.real: dict[int, tuple[Any, Any]] = {}

    # ---- modules ------------------------------------------------------------------------------------

    def module(self, path: str) -> Module:
        """Give the module of a file, run at its first import."""
        if path in self.modules:
            return self.modules[path]
        module = self.modules[path] = Module(path)
        script, _ = parse(Source(path, self.files[path]))
        if script is None:
            raise Skip
        body = tuple(self.spliced(script.body, set()))
        frame = Frame(module, module.cells, (module.names,))
        self.hoist(body, module.names, frame)
        for node in body:
            if isinstance(node, (s.ImportStmt, s.ImportAllStmt)):
                self.statement(node, frame)
        try:
            for node in body:
                self.statement(node, frame)
        except (Return, Break, Continue):
            pass
        return module

    def spliced(self, body: Iterable[s.Stmt], seen: set[str]) -> Iterable[s.Stmt]:
        """Give the statements with includes at the top level put in."""
        for node in body:
            if not isinstance(node, s.IncludeStmt):
                yield node
            elif not (node.once and node.path.value in seen):
                seen.add(node.path.value)
                script, _ = parse(Source(node.path.value, self.files[node.path.value]))
                if script is None:
                    raise Skip
                yield from self.spliced(script.body, seen)

    def hoist(self, body: Iterable[s.Node], names: dict[str, Any], frame: Frame) -> None:
        """Note the functions and classes that statements define, wherever they stand."""
        for statement in body:
            for node in [statement] if isinstance(statement, s.ClassStmt) else list(walk(statement)):
                for child in [node, *children_of(node)]:
                    if isinstance(child, s.FunctionStmt):
                        names[child.function.name or ""] = self.closure(child.function, frame, {})
                    elif isinstance(child, s.ClassStmt) and child.name not in names:
                        self.define(child, names, frame)

    def define(self, node: s.ClassStmt, names: dict[str, Any], frame: Frame) -> None:
        class_ = names[node.name] = Class(node, frame.module)
        for member in node.members:
            if member.is_static and member.function is None:
                class_.statics[member.name] = Cell(self.value(member.value, frame) if member.value else None)

    # ---- functions ----------------------------------------------------------------------------------

    def closure(self, node: s.Function, frame: Frame, shared: dict[str, Cell], this: Obj | None = None) -> Func:
        """Give the function value of a function node in `frame`; `shared` are the variables it captures."""
        params = node.params or ()
        required = sum(1 for param in params if param.default is None and not param.variadic)
        most = None if any(param.variadic for param in params) else len(params)
        owner = frame.class_
        yields = any(isinstance(child, s.Yield) for child in walk(node.body))

        def call(args: list[Value]) -> Value:
            inner = Frame(frame.module, dict(shared), ({}, *frame.names))
            inner.this, inner.class_ = this, owner
            for position, param in enumerate(params):
                if param.variadic:
                    value: Value = rules.listed(copied(arg) for arg in args[position:])
                elif position < len(args):
                    value = copied(args[position])
                else:
                    assert param.default is not None
                    value = self.value(param.default, inner)
                inner.cells[param.name] = Cell(value)
            self.hoist([node.body], inner.names[0], inner)
            if yields:
                generator = Generator(lambda generator: self.generate(node.body, inner, generator))
                return Obj("Iterator", generator)
            return self.body(node.body, inner)

        return Func(node.name, call, required, most)

    def body(self, block: s.Block, frame: Frame) -> Value:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise Skip
        try:
            self.statement(block, frame)
        except Return as returned:
            return returned.value
        except (Break, Continue):
            return None
        finally:
            self.depth -= 1
        return None

    def generate(self, block: s.Block, frame: Frame, generator: Generator) -> None:
        frame.generator = generator
        self.body(block, frame)

    def call(self, function: Value, args: list[Value]) -> Value:
        """Call any value."""
        self.step()
        if isinstance(function, Class):
            return self.create(function, args)
        if not isinstance(function, Func):
            raise Fault("R103")
        if len(args) < function.required or (function.most is not None and len(args) > function.most):
            raise Fault("R102")
        return function.call(args)

    def create(self, class_: Class, args: list[Value]) -> Obj:
        this = Obj(class_.node.name, class_)
        frame = Frame(class_.module, {}, (class_.module.names,))
        frame.this, frame.class_ = this, class_
        constructor = class_.members.get("constructor")
        function = self.method(this, class_, constructor.function) if constructor and constructor.function else None
        required, most = (function.required, function.most) if function else (0, 0)
        if len(args) < required or (most is not None and len(args) > most):
            raise Fault("R102")
        for member in class_.node.members:
            if member.function is None and not member.is_static:
                this.fields[member.name] = copied(self.value(member.value, frame)) if member.value else None
        if function:
            function.call(args)
        return this

    def method(self, this: Obj | None, class_: Class, node: s.Function) -> Func:
        frame = Frame(class_.module, {}, (class_.module.names,))
        frame.class_ = class_
        return self.closure(node, frame, {}, this)

    def named(self, name: str, frame: Frame) -> Value:
        """Give what a bare name stands for."""
        for names in frame.names:
            if name in names:
                return names[name]
        return self.builtin(name)

    def builtin(self, name: str) -> Func:
        if name == "Exception":
            return Func(name, self.exception, 0, 1)
        row = TABLE.get(name)
        if row is None:
            raise Skip

        def call(args: list[Value]) -> Value:
            return self.guarded(lambda: self.from_real(BoundBuiltin(row, self.run).call(*map(self.to_real, args))))

        known = self.real.setdefault(id(row), (row, Func(name, call, 0, None)))
        return known[1]

    def exception(self, args: list[Value]) -> Obj:
        if args and not isinstance(args[0], str):
            raise Fault("R101")
        made = Obj("Exception", Fault("R107"))
        made.kind.value = made
        made.kind.message = args[0] if args else ""
        return made

    def guarded(self, work: Callable[[], Value]) -> Value:
        """Do what the library does, its errors made ours."""
        try:
            return work()
        except ScriptError as error:
            raise Fault(error.code) from None

    # ---- the library's values -----------------------------------------------------------------------

    def to_real(self, value: Value) -> Any:
        if isinstance(value, Arr):
            return Array({key: self.to_real(item) for key, item in value.items.items()}, value.next)
        if isinstance(value, Foreign):
            return value.value
        if isinstance(value, (Func, Obj, Class)):
            known = self.real.get(id(value))
            if known is None:
                made = self.made(value)
                known = self.real[id(value)] = (value, made)
                self.real[id(made)] = (made, value)
            return known[1]
        return value

    def made(self, value: Value) -> Any:
        if isinstance(value, Obj):
            if isinstance(value.kind, Generator):
                raise Skip
            return HslObject(value.name)

        def call(*args: Any) -> Any:
            return self.to_real(self.call(value, [self.from_real(arg) for arg in args]))

        required, most = (0, None) if isinstance(value, Class) else (value.required, value.most)
        return HslFunction(call, getattr(value, "name", None), required, most)

    def from_real(self, value: Any) -> Value:
        if isinstance(value, Array):
            result = Arr()
            result.items = {key: self.from_real(item) for key, item in value.items.items()}
            result.next = value.next_index
            return result
        if isinstance(value, (HslFunction, HslObject)) and id(value) in self.real:
            return self.real[id(value)][1]
        if isinstance(value, HslObject):
            known = self.real[id(value)] = (value, Foreign(value, value.class_name, True))
            return known[1]
        if isinstance(value, Regex):
            return Foreign(value, "Regex", False)
        if value is None or isinstance(value, (bool, float, str)):
            if isinstance(value, str) and len(value) > rules.TOO_LONG:
                raise Skip
            return value
        raise Skip

    # ---- statements ---------------------------------------------------------------------------------

    def step(self) -> None:
        self.steps += 1
        if self.steps > self.most_steps:
            raise Skip

    def statement(self, node: s.Stmt, frame: Frame) -> None:
        self.step()
        try:
            getattr(self, type(node).__name__)(node, frame)
        except Fault as fault:
            fault.line = fault.line or self.line(node)
            raise

    def Block(self, node: s.Block, frame: Frame) -> None:
        for statement in node.body:
            self.statement(statement, frame)

    def EmptyStmt(self, node: s.EmptyStmt, frame: Frame) -> None:
        pass

    FunctionStmt = ClassStmt = IncludeStmt = EmptyStmt

    def ExprStmt(self, node: s.ExprStmt, frame: Frame) -> None:
        self.value(node.value, frame)

    def EchoStmt(self, node: s.EchoStmt, frame: Frame) -> None:
        self.said.append(rules.echo_text(self.value(node.value, frame)))

    def IfStmt(self, node: s.IfStmt, frame: Frame) -> None:
        for condition, body in node.branches:
            if truth(self.value(condition, frame)):
                self.statement(body, frame)
                return
        if node.otherwise is not None:
            self.statement(node.otherwise, frame)

    def round(self, body: s.Stmt, frame: Frame) -> bool:
        """Do one turn of a loop, and say whether it goes on."""
        self.step()
        try:
            self.statement(body, frame)
        except Break:
            return False
        except Continue:
            pass
        return True

    def WhileStmt(self, node: s.WhileStmt, frame: Frame) -> None:
        while node.condition is None or truth(self.value(node.condition, frame)):
            if not self.round(node.body, frame):
                break

    def ForStmt(self, node: s.ForStmt, frame: Frame) -> None:
        for part in node.start:
            self.value(part, frame)
        while node.condition is None or truth(self.value(node.condition, frame)):
            if not self.round(node.body, frame):
                break
            for part in node.step:
                self.value(part, frame)

    def ForeachStmt(self, node: s.ForeachStmt, frame: Frame) -> None:
        for key, value in self.pairs(self.value(node.subject, frame)):
            if node.key is not None:
                frame.cell(node.key.name).value = key
            frame.cell(node.value.name).value = copied(value)
            if not self.round(node.body, frame):
                break

    def pairs(self, subject: Value) -> Iterable[tuple[Value, Value]]:
        if isinstance(subject, Arr):
            for key, value in copied(subject).items.items():
                yield (key if isinstance(key, str) else float(key)), value
        elif isinstance(subject, Obj) and isinstance(subject.kind, Generator):
            while (value := subject.kind.advance()) is not MISSING:
                yield float(subject.kind.count - 1), value
        elif isinstance(subject, Foreign) and isinstance(getattr(subject.value, "host", None), Pairs):
            for key, value in subject.value.host.source:
                yield self.from_real(float(key) if type(key) is int else key), self.from_real(value)
        else:
            raise Fault("R111")

    def SwitchStmt(self, node: s.SwitchStmt, frame: Frame) -> None:
        subject = self.value(node.subject, frame)
        chosen = None
        for number, case in enumerate(node.cases):
            if case.test is not None and rules.equal(subject, self.value(case.test, frame)):
                chosen = number
                break
        if chosen is None:
            chosen = next((number for number, case in enumerate(node.cases) if case.is_default), len(node.cases))
        try:
            for case in node.cases[chosen:]:
                for statement in case.body:
                    self.statement(statement, frame)
        except Break:
            pass

    def BreakStmt(self, node: s.BreakStmt, frame: Frame) -> None:
        raise Break

    def ContinueStmt(self, node: s.ContinueStmt, frame: Frame) -> None:
        raise Continue

    def ReturnStmt(self, node: s.ReturnStmt, frame: Frame) -> None:
        raise Return(self.value(node.value, frame) if node.value is not None else None)

    def TryStmt(self, node: s.TryStmt, frame: Frame) -> None:
        try:
            self.statement(node.body, frame)
        except Fault as fault:
            thrown = fault.value
            if fault.code != "R107":
                thrown = Obj("Exception", fault)
            frame.cell(node.variable.name).value = copied(thrown)
            self.statement(node.handler, frame)

    def ThrowStmt(self, node: s.ThrowStmt, frame: Frame) -> None:
        value = self.value(node.value, frame)
        if isinstance(value, Obj) and isinstance(value.kind, Fault):
            raise value.kind
        fault = Fault("R107", value)
        fault.line = self.line(node)
        raise fault

    def GlobalStmt(self, node: s.GlobalStmt, frame: Frame) -> None:
        for variable in node.variables:
            frame.cells[variable.name] = frame.module.cells.setdefault(variable.name, Cell())

    def ImportStmt(self, node: s.ImportStmt, frame: Frame) -> None:
        module = self.module(node.path.value)
        for symbol in node.symbols:
            if symbol.is_variable:
                frame.cells[symbol.alias] = module.cells.setdefault(symbol.name, Cell())
            else:
                frame.module.names[symbol.alias] = module.names[symbol.name]

    def ImportAllStmt(self, node: s.ImportAllStmt, frame: Frame) -> None:
        frame.module.spaces[node.name] = self.module(node.path.value)

    # ---- expressions --------------------------------------------------------------------------------

    def line(self, node: s.Node) -> int:
        return node.span.source.position(node.span.start)[0]

    def value(self, node: s.Expr, frame: Frame) -> Value:
        self.step()
        try:
            return getattr(self, type(node).__name__)(node, frame)
        except Fault as fault:
            fault.line = fault.line or self.line(node)
            raise

    def NumberLit(self, node: s.NumberLit, frame: Frame) -> Value:
        return node.value

    StringLit = ConstLit = NumberLit

    def Interpolation(self, node: s.Interpolation, frame: Frame) -> Value:
        text = ""
        for part in [self.value(part, frame) for part in node.parts]:
            text = rules.joined(text, part)
        return text

    def RegexLit(self, node: s.RegexLit, frame: Frame) -> Value:
        return Foreign(Regex(node.pattern, node.modifiers), "Regex", False)

    def Variable(self, node: s.Variable, frame: Frame) -> Value:
        if node.name == "this" and frame.this is not None:
            return frame.this
        value = frame.cell(node.name).value
        if value is EMPTY:
            raise Fault("R106")
        return copied(value)

    def Name(self, node: s.Name, frame: Frame) -> Value:
        found = self.named(node.name, frame)
        if isinstance(found, Class):
            return self.class_value(found)
        return found

    def class_value(self, class_: Class) -> Func:
        known = self.real.get(id(class_))
        if known is None:
            made = Func(class_.node.name, lambda args: self.create(class_, args), 0, None)
            known = self.real[id(class_)] = (class_, made)
        return known[1]

    def BuiltinName(self, node: s.BuiltinName, frame: Frame) -> Value:
        return self.builtin(node.name)

    def ArrayLit(self, node: s.ArrayLit, frame: Frame) -> Value:
        result = Arr()
        for item in node.items:
            if item.spread:
                value = self.value(item.value, frame)
                if not isinstance(value, Arr):
                    raise Fault("R111")
                result = rules.merged(result, value)
            elif item.key is None:
                result.add(copied(self.value(item.value, frame)))
            else:
                key = self.value(item.key, frame)
                value = copied(self.value(item.value, frame))
                result.put(rules.key_of(key), value)
        return result

    def Unary(self, node: s.Unary, frame: Frame) -> Value:
        return rules.unary(node.op, self.value(node.operand, frame))

    def Binary(self, node: s.Binary, frame: Frame) -> Value:
        if node.op == "??":
            value = self.quiet(node.left, frame)
            return self.value(node.right, frame) if value is None or value is EMPTY else value
        left = self.value(node.left, frame)
        if node.op == "and":
            return truth(left) and truth(self.value(node.right, frame))
        if node.op == "or":
            return truth(left) or truth(self.value(node.right, frame))
        if node.op == ".":
            left = rules.text_of(left)  # as it comes, before the right side is looked at
        right = self.value(node.right, frame)
        if node.op in ("=~", "!~"):
            return self.matched(left, right) == (node.op == "=~")
        return rules.BINARY[node.op](left, right)

    def matched(self, subject: Value, pattern: Value) -> bool:
        if not isinstance(pattern, str) and kind(pattern) != "regex":
            raise Fault("R122")
        return bool(self.guarded(lambda: matches(self.run, rules.text_of(subject), self.to_real(pattern))))

    def Ternary(self, node: s.Ternary, frame: Frame) -> Value:
        condition = self.value(node.condition, frame)
        if truth(condition):
            return condition if node.then is None else self.value(node.then, frame)
        return self.value(node.otherwise, frame)

    def Match(self, node: s.Match, frame: Frame) -> Value:
        subject = self.value(node.subject, frame)
        for arm in node.arms:
            for candidate in arm.candidates or ():
                if rules.equal(subject, self.value(candidate, frame)):
                    return self.value(arm.value, frame)
        for arm in node.arms:
            if arm.candidates is None:
                return self.value(arm.value, frame)
        raise Fault("R114")

    def Function(self, node: s.Function, frame: Frame) -> Value:
        shared = {variable.name: frame.cell(variable.name) for variable in node.captures if variable.name != "this"}
        this = frame.this if any(variable.name == "this" for variable in node.captures) else None
        return self.closure(node, frame, shared, this)

    def Yield(self, node: s.Yield, frame: Frame) -> Value:
        value = self.value(node.value, frame) if node.value is not None else None
        assert frame.generator is not None
        frame.generator.give(copied(value))
        return None

    # ---- reading parts ------------------------------------------------------------------------------

    def element(self, base: Value, key: Value, frame: Frame) -> Value:
        if isinstance(base, Obj):
            return self.property(base, rules.key_of(key), frame)
        if base is None:
            return None
        if isinstance(base, Arr):
            return None if key is None else copied(base.items.get(rules.key_of(key)))
        if isinstance(base, str):
            at = None if key is None else rules.key_of(key)
            return base[at] if isinstance(at, int) and 0 <= at < len(base) else None
        if isinstance(base, Foreign) and base.is_object:
            row = TABLE.get(f"{base.name}->{key}")
            if row is None:
                return None
            signature = row.signature
            return Func(row.name, lambda args: self.foreign(base, row, args), signature.required, signature.maximum)
        raise Fault("R125")

    def foreign(self, base: Foreign, row: Any, args: list[Value]) -> Value:
        from hslpy.lang.runtime import _call_row  # checks the arguments

        return self.guarded(
            lambda: self.from_real(_call_row(self.run, base.value, row, tuple(self.to_real(arg) for arg in args)))
        )

    def property(self, base: Obj, key: int | str, frame: Frame) -> Value:
        if isinstance(base.kind, Generator):
            if key == "next":
                return Func("next", lambda args: self.next_of(base.kind), 0, 0)
            return None
        if isinstance(base.kind, Fault):
            line = float(base.kind.line)
            answers = {"line": lambda args: line, "message": lambda args: getattr(base.kind, "message", None)}
            if key not in answers:
                raise Skip
            if key == "message" and not hasattr(base.kind, "message"):
                raise Skip
            return Func(str(key), answers[str(key)], 0, 0)
        member = base.kind.members.get(str(key)) if key != "constructor" else None
        if member is not None and not member.is_static:
            if member.is_private and frame.class_ is not base.kind:
                raise Fault("R110")
            if member.function is not None:
                return self.method(base, base.kind, member.function)
        return copied(base.fields.get(key))

    def next_of(self, generator: Generator) -> Value:
        value = generator.advance()
        return None if value is MISSING else value

    def Index(self, node: s.Index, frame: Frame) -> Value:
        assert node.index is not None
        base = self.value(node.base, frame)
        return self.element(base, self.value(node.index, frame), frame)

    def Member(self, node: s.Member, frame: Frame) -> Value:
        return self.element(self.value(node.base, frame), node.name, frame)

    def Slice(self, node: s.Slice, frame: Frame) -> Value:
        base = self.value(node.base, frame)
        return rules.sliced(base, *self.bounds(node, frame))

    def bounds(self, node: s.Slice, frame: Frame) -> list[Value]:
        return [None if part is None else self.value(part, frame) for part in (node.first, node.last, node.step)]

    def StaticMember(self, node: s.StaticMember, frame: Frame) -> Value:
        if node.is_variable:
            value = self.static_cell(node, frame).value
            if value is EMPTY:
                raise Fault("R106")
            return copied(value)
        if node.class_name in frame.module.spaces:
            found = frame.module.spaces[node.class_name].names[node.name]
            return self.class_value(found) if isinstance(found, Class) else found
        class_ = self.class_of(node, frame)
        member = class_.members[node.name]
        assert member.function is not None
        return self.method(None, class_, member.function)

    def class_of(self, node: s.StaticMember, frame: Frame) -> Class:
        class_ = frame.class_ if node.class_name == "static" else self.named(node.class_name, frame)
        if not isinstance(class_, Class):
            raise Skip
        return class_

    def static_cell(self, node: s.StaticMember, frame: Frame) -> Cell:
        if node.class_name in frame.module.spaces:
            return frame.module.spaces[node.class_name].cells.setdefault(node.name, Cell())
        return self.class_of(node, frame).statics[node.name]

    # ---- calls --------------------------------------------------------------------------------------

    def arguments(self, node: s.Call, frame: Frame) -> list[Value]:
        args: list[Value] = []
        for argument in node.arguments:
            value = self.value(argument.value, frame)
            if not argument.spread:
                args.append(value)
            elif isinstance(value, Arr):
                args.extend(copied(item) for item in value.items.values())
            else:
                raise Fault("R111")
        return args

    def Call(self, node: s.Call, frame: Frame) -> Value:
        function = node.function
        if isinstance(function, s.Name):
            target = self.named(function.name, frame)
            return self.call(target, self.arguments(node, frame))
        if isinstance(function, (s.Member, s.Index)) and getattr(function, "index", "") is not None:
            base = self.value(function.base, frame)
            key = function.name if isinstance(function, s.Member) else self.value(function.index, frame)  # type: ignore[arg-type]
            args = self.arguments(node, frame)
            found = self.element(base, key, frame)
            if found is None and isinstance(base, (Obj, Foreign)):
                raise Fault("R113")
            return self.call(found, args)
        target = self.value(function, frame)
        return self.call(target, self.arguments(node, frame))


def outcome(text: str, files: Mapping[str, str] | None = None, steps: int = MOST_STEPS) -> tuple[list[str], str]:
    """Give what a script echoes, and its end: "" or the code and line of an error. Raises Skip."""
    oracle = Oracle({**(files or {}), "main.hsl": text}, steps)
    try:
        oracle.module("main.hsl")
    except Fault as fault:
        return oracle.said, f"{fault.code} at {fault.line}"
    return oracle.said, ""
