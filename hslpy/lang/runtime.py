"""What compiled code calls beside the operators: growing text, elements and properties, calls, classes, exceptions.

In: values and the run, from code made by `compile/`. Out: values, or ScriptError R1xx. The fast paths of all this are
emitted inline; a change of meaning here needs the same change there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, islice
from operator import itemgetter
from typing import NamedTuple, NoReturn

from hslpy.errors import ScriptError
from hslpy.lang.declare import Builtin
from hslpy.lang.diagnostics import suggest
from hslpy.lang.faults import as_script_error, place
from hslpy.lang.iterators import Pairs
from hslpy.lang.operators import add, add_into, get_index, normalise_key, set_slice, to_echo, to_number, to_string, unshare
from hslpy.lang.regex import matches
from hslpy.lang.run import (
    BoundBuiltin,
    LimitExceeded,
    Run,
    Thrown,
    check_arguments,
    count_text,
    describe,
    fits,
    wrong_argument,
)
from hslpy.lang.source import Span
from hslpy.lang.values import Array, HslFunction, HslObject, Key, Regex, Value, own, type_name

LONG_TEXT = 65_536  # bytes from which concatenations are accounted one by one; below, looks at the memory suffice


class _Unset:
    """The value of a variable that has none, where that may be asked for. Scripts never see it."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET = _Unset()


class Method(NamedTuple):
    """A method: `call` takes the object first; `required` and `maximum` count the arguments after it."""

    call: Callable[..., Value]
    required: int
    maximum: int | None
    is_private: bool = False


class ClassInfo:
    """A class of scripts, one for each run."""

    __slots__ = ("id", "methods", "name", "private", "readonly")

    def __init__(
        self, id_: int, name: str, methods: dict[str, Method], private: frozenset[str], readonly: frozenset[str]
    ) -> None:
        self.id = id_
        self.name = name
        self.methods = methods
        self.private = private
        self.readonly = readonly


# ---- text -------------------------------------------------------------------------------------------


def text(run: Run, value: Value, name: str | None) -> str:
    """Give a part of a text; `name` is what an error calls it."""
    return value if value.__class__ is str else to_string(run, value, name)


def join(run: Run, parts: Iterable[Value]) -> str:
    """Put together what may become long."""
    texts = [part if part.__class__ is str else to_string(run, part) for part in parts]
    size = sum(map(len, texts))
    if size >= LONG_TEXT:
        run.reserve_text(size)
        run.charge(size >> 12)
    return "".join(texts)


def about_to_grow(run: Run, tail: str) -> None:
    """Account a long text before it is put at the end of another."""
    if len(tail) >= LONG_TEXT:
        run.reserve_text(len(tail))


def grown(run: Run, whole: str, address: int) -> None:
    """Account a long text that Python could not grow in place: it was copied."""
    if id(whole) != address:
        run.reserve(len(whole))


def matched(run: Run, subject: Value, pattern: Value) -> bool:
    """Give `subject =~ pattern`."""
    if pattern.__class__ is not str and pattern.__class__ is not Regex:
        raise ScriptError("R122", f"`=~` wants a string or a regex on its right, got {describe(pattern)}")
    return matches(run, subject if subject.__class__ is str else to_string(run, subject), pattern)


def missing(name: str) -> NoReturn:
    raise ScriptError(
        "R106", f"the variable `${name}` has no value yet", hint=f"assign it first, or test it with `isset(${name})`"
    )


def step_value(value: Value, by: float) -> float:
    """Give the number that `++` and `--` count on from: 0 where there is none yet, for `$count[$key]++`."""
    if value is None:
        return 0.0
    if value.__class__ is float or value.__class__ is bool or value.__class__ is str:
        return to_number(value)
    raise ScriptError("R122", f"`{'++' if by > 0 else '--'}` wants a number, got {describe(value)}")


# ---- elements and properties ------------------------------------------------------------------------


def at(run: Run, base: Value, key: Value, inside: int) -> Value:
    """Give `base[key]` or `base->key`; `inside` is the id of the class whose private members may be read."""
    if base.__class__ is HslObject:
        return _property(run, base, normalise_key(key), inside)
    return get_index(base, key)


def at_quietly(run: Run, base: Value, key: Value, inside: int) -> Value:
    """Give `base[key]` for `??` and `isset`: none, too, where the base has no elements at all."""
    kind = base.__class__
    return at(run, base, key, inside) if kind is Array or kind is str or kind is HslObject else None


def _property(run: Run, base: HslObject, key: Key, inside: int) -> Value:
    info = base.class_info
    if info.__class__ is ClassInfo:
        method = info.methods.get(str(key))
        if method is not None:
            if method.is_private and inside != info.id:
                raise _private(base, key)
            return _bound(base, method, str(key))
        if key in info.private and inside != info.id:
            raise _private(base, key)
        return base.fields.get(key)
    row = builtin_method(run, base, key)
    if row is not None:
        return HslFunction(_bound_row(run, base, row), row.name, row.signature.required, row.signature.maximum)
    return base.fields.get(key)


def _bound(base: HslObject, method: Method, name: str) -> HslFunction:
    return HslFunction(lambda *args: method.call(base, *args), name, method.required, method.maximum)


def _bound_row(run: Run, base: HslObject, row: Builtin) -> Callable[..., Value]:
    return lambda *args: _call_row(run, base, row, args)


def builtin_method(run: Run, base: HslObject, key: Value) -> Builtin | None:
    """Give the row of a builtin class's method: from the object itself, or from the table of the program."""
    info = base.class_info
    if isinstance(info, Mapping):
        row = info.get(key)
        return row if isinstance(row, Builtin) else None
    program = run.program
    return program.methods.get(f"{base.class_name}->{key}") if program is not None else None


def _private(base: HslObject, key: Key) -> ScriptError:
    return ScriptError("R110", f"`{key}` of class {base.class_name} is private")


def element_holder(run: Run, value: Value, name: str) -> Value:
    """Give the value of a variable as the container of an element to be written: none and nothing become an array."""
    if value.__class__ is Array:
        if value.shared:
            unshare(run, value)
        return value
    if value is None or value is UNSET:
        return Array({}, 0)
    if value.__class__ is HslObject:
        return value
    raise ScriptError("R112", f"`${name}` is {_a(value)}, which has no elements to write")


def _a(value: Value) -> str:
    name = type_name(value)
    return f"an {name}" if name[0] in "aeio" else f"a {name}"


def inner(run: Run, container: Value, key: Value, inside: int) -> Value:
    """Give the element of `container` as a container to be written, made where it is none or missing.

    `container` is the caller's own: an unshared array or an object. `key` None appends.
    """
    if container.__class__ is Array:
        index = container.next_index if key is UNSET else normalise_key(key)
        value = container.items.get(index)
        if value.__class__ is Array:
            if value.shared:
                unshare(run, value)
            return value
        if value is None:
            value = Array({}, 0)
            container.set(index, value)
            return value
        if value.__class__ is HslObject:
            return value
        raise ScriptError("R112", f"the element {_shown_key(index)} is {_a(value)}, which has no elements to write")
    if container.__class__ is HslObject:
        index = normalise_key(key)
        _check_write(container, index, inside)
        value = container.fields.get(index)
        if value is None:
            value = container.fields[index] = Array({}, 0)
        elif value.__class__ is Array:
            if value.shared:
                unshare(run, value)
        elif value.__class__ is not HslObject:
            raise ScriptError("R112", f"the property `{index}` is {_a(value)}, which has no elements to write")
        return value
    raise ScriptError("R112", f"{_a(container)} has no elements to write")


def _shown_key(key: Key) -> str:
    return f'"{key}"' if key.__class__ is str and len(str(key)) < 40 else str(key)[:40]


def _check_write(base: HslObject, key: Key, inside: int) -> None:
    info = base.class_info
    if info.__class__ is ClassInfo:
        if inside == info.id:
            return
        if key in info.private:
            raise _private(base, key)
        if key in info.readonly:
            raise ScriptError("R110", f"`{key}` of class {base.class_name} is readonly")
        if key in info.methods:
            raise ScriptError("R110", f"`{key}` is a method of class {base.class_name} and cannot be assigned")
    elif info is not None:
        raise ScriptError("R110", f"objects of class {base.class_name} have no properties to write")


def put(run: Run, container: Value, key: Value, value: Value, inside: int) -> Value:
    """Write an element of a container that is the caller's own; `value` is owned. Gives the value."""
    if container.__class__ is Array:
        if container.shared:
            unshare(run, container)
        if key is UNSET:
            container.append(value)
        else:
            container.set(normalise_key(key), value)
        return value
    if container.__class__ is HslObject:
        if key is UNSET:
            raise ScriptError("R112", f"an object of class {container.class_name} cannot be appended to")
        index = normalise_key(key)
        _check_write(container, index, inside)
        container.fields[index] = value
        return value
    raise ScriptError("R112", f"{_a(container)} has no elements to write")


def fact_holder(run: Run, facts: dict[str, Value], name: str) -> Value:
    """Give a writable predefined variable as the container of an element to be written."""
    value = fact(facts, name)
    holder = element_holder(run, value, name)
    if holder is not value:
        facts[name] = holder
    return holder


def add_assign(run: Run, left: Value, right: Value) -> Value:
    """Give `left + right` for `left += right`, in place where `left` is an array: it is the caller's own."""
    return add_into(run, left, right) if left.__class__ is Array else add(run, left, right)


def put_slice(
    run: Run, container: Value, key: Value, first: Value, last: Value, step: Value, value: Value, inside: int
) -> Value:
    """Replace a slice of an element of a container that is the caller's own. Gives the value."""
    put(run, container, key, set_slice(run, peek(run, container, key, inside), first, last, step, value), inside)
    return value


def holder_of(value: Value) -> Value:
    """Give the value of an expression that is no place as a container to write to: only an object can be that."""
    if value.__class__ is HslObject:
        return value
    raise ScriptError("R112", f"elements of {_a(value)} that is not in a variable cannot be written")


def peek(run: Run, container: Value, key: Value, inside: int) -> Value:
    """Give an element for an unset path: an array ready for writing, or whatever is there."""
    if container.__class__ is Array:
        if container.shared:
            unshare(run, container)
        value = container.items.get(normalise_key(key))
    elif container.__class__ is HslObject:
        value = container.fields.get(normalise_key(key))
    else:
        return None
    if value.__class__ is Array and value.shared:
        unshare(run, value)
    return value


def ready(run: Run, value: Value) -> Value:
    """Give a variable's value as the container of an unset path."""
    if value.__class__ is Array and value.shared:
        unshare(run, value)
    return value


def has(run: Run, base: Value, key: Value, inside: int) -> bool:
    """Give `isset(base[key])`: a stored none counts."""
    if base.__class__ is Array:
        return key is not None and normalise_key(key) in base.items
    if base.__class__ is HslObject:
        index = normalise_key(key)
        info = base.class_info
        if info.__class__ is ClassInfo:
            if index in info.methods:
                return True
        elif builtin_method(run, base, index) is not None:
            return True
        return index in base.fields
    if base.__class__ is str:
        return get_index(base, key) is not None
    return False


def remove(run: Run, container: Value, key: Value, inside: int) -> bool:
    """Do `unset(container[key])` and say whether it was there."""
    if container.__class__ is Array:
        index = normalise_key(key)
        if index not in container.items:
            return False
        if container.shared:
            unshare(run, container)
        del container.items[index]
        return True
    if container.__class__ is HslObject:
        index = normalise_key(key)
        _check_write(container, index, inside)
        return container.fields.pop(index, UNSET) is not UNSET
    return False


def fact(facts: Mapping[str, Value], name: str) -> Value:
    """Give a predefined variable, or UNSET."""
    try:
        return facts[name]
    except KeyError:
        return UNSET


def fact_or_none(facts: Mapping[str, Value], name: str) -> Value:
    """Give a predefined variable, or none where it has no value."""
    try:
        return facts[name]
    except KeyError:
        return None


def set_fact(facts: dict[str, Value], name: str, value: Value) -> Value:
    """Assign a predefined variable that scripts may write, and give the value."""
    facts[name] = value
    return value


def unset_fact(facts: dict[str, Value], name: str) -> bool:
    """Do `unset` of a predefined variable that scripts may write."""
    there = fact(facts, name) is not UNSET
    facts.pop(name, None)
    return there


# ---- arrays -----------------------------------------------------------------------------------------


def spread_into(run: Run, target: Array, value: Value) -> Array:
    """Do `[..., ...value]`: string keys are kept, the others numbered on."""
    if value.__class__ is not Array:
        raise ScriptError("R111", f"only an array can be spread with `...`, got {describe(value)}")
    return add_into(run, target, value)


MOST_SPREAD = 10_000  # some 2 ms of unpacking, checking and packing
_UNITS_A_SPREAD = 64  # so that the clock is looked at


def spread_args(value: Value) -> Iterable[Value]:
    """Give the arguments of `f(...value)`."""
    if value.__class__ is not Array:
        raise ScriptError("R111", f"only an array can be spread with `...`, got {describe(value)}")
    if len(value.items) > MOST_SPREAD:
        raise ScriptError("R111", f"a call takes at most {MOST_SPREAD:,} arguments by `...`, got {len(value.items):,}")
    return value.items.values()


def rest_array(values: tuple[Value, ...]) -> Array:
    """Give the array of a variadic parameter."""
    return Array.of([own(value) for value in values])


def iterate(run: Run, value: Value) -> Iterable[Value]:
    """Give the values of anything but an array for `foreach`."""
    return map(_SECOND, iterate_pairs(run, value))


_SECOND = itemgetter(1)


def paced(run: Run, entries: Iterable[Value], count: int) -> Iterator[Value]:
    """Give the entries of an array, `count` of them, for `foreach`: a step each, counted a stretch at a time."""
    return chain.from_iterable(_stretches(run, iter(entries), count))


def _stretches(run: Run, entries: Iterator[Value], count: int) -> Iterator[Iterable[Value]]:
    while count > 0:
        size = run.stretch(count)
        yield islice(entries, size)
        count -= size


def iterate_pairs(run: Run, value: Value) -> Iterable[tuple[Value, Value]]:
    """Give the keys and values of anything `foreach` takes: an array, or an object of class Iterator."""
    if value.__class__ is Array:
        return value.items.items()
    if value.__class__ is HslObject and value.host.__class__ is Pairs:
        return value.host.source
    raise ScriptError("R111", f"`foreach` wants an array or an iterator, got {describe(value)}")


def pick(source: Value, key: Value) -> Value:
    """Give one item of a destructuring, or UNSET when it is missing."""
    if source.__class__ is Array:
        return source.items.get(normalise_key(key), UNSET)
    if source.__class__ is HslObject:
        return source.fields.get(normalise_key(key), UNSET)
    return UNSET


def rest_of(run: Run, source: Value, count: int) -> Array:
    """Give what a destructuring leaves for `...$rest`: the items after the first `count`, keyed from 0."""
    if source.__class__ is not Array:
        return Array({}, 0)
    values = list(source.items.values())[count:]
    run.charge(1 + (len(values) >> 4))
    return Array.of([own(value) for value in values])


def object_of(items: Array) -> HslObject:
    """Give `object [...]`: the functions written in it are bound to it."""
    found = HslObject("object")
    found.fields = {
        key: _bound(found, value, str(key)) if value.__class__ is Method else value for key, value in items.items.items()
    }
    return found


# ---- calls ------------------------------------------------------------------------------------------


def call_member(run: Run, base: Value, key: Value, inside: int, *args: Value) -> Value:
    """Do `base->key(args)` and `base["key"](args)`."""
    if base.__class__ is HslObject:
        info = base.class_info
        if info.__class__ is ClassInfo:
            method = info.methods.get(key)
            if method is not None:
                if method.is_private and inside != info.id:
                    raise _private(base, key)
                count = len(args)
                if count < method.required or (method.maximum is not None and count > method.maximum):
                    wanted = count_text(method.required, method.maximum)
                    raise ScriptError("R102", f"{base.class_name}->{key}() takes {wanted}, got {count}")
                return method.call(base, *args)
        else:
            row = builtin_method(run, base, key)
            if row is not None:
                return _call_row(run, base, row, args)
        function = _property(run, base, normalise_key(key), inside)
        if function is None:
            raise _no_method(run, base, key)
        return run.invoke(function, *args)
    if base is None:
        hint = "what gives an object gives none when it fails: test it before"
        raise ScriptError("R103", f"`{key}` is called on none, which has no methods", hint=hint)
    return run.invoke(get_index(base, key), *args)


def _no_method(run: Run, base: HslObject, key: Value) -> ScriptError:
    info = base.class_info
    if info.__class__ is ClassInfo:
        known = [name for name, method in info.methods.items() if not method.is_private]
    elif isinstance(info, Mapping):
        known = [str(name) for name in info]
    else:
        of_class = f"{base.class_name}->"
        rows = run.program.methods if run.program is not None else {}
        known = [name.removeprefix(of_class) for name in rows if name.startswith(of_class)]
    hint = suggest(str(key), known)
    if hint is None and 0 < len(known) <= 12:
        hint = f"it has {', '.join(f'`{name}`' for name in known)}"
    return ScriptError("R113", f"class {base.class_name} has no method `{key}`", hint=hint)


def _call_row(run: Run, base: HslObject, row: Builtin, args: tuple[Value, ...]) -> Value:
    check_arguments(row, args)
    return row.function(run, base, *args) if row.takes_call else row.function(base, *args)


def wrong(row: Builtin, index: int, value: Value) -> NoReturn:
    """Raise the error of a builtin's argument of the wrong type; in the place of the argument."""
    raise wrong_argument(row, index, value)


def fitting(row: Builtin, index: int, value: Value) -> Value:
    """Give the value if it fits a parameter that wants an object of a class, or a resource."""
    parameters = row.signature.parameters
    if fits(value, parameters[min(index, len(parameters) - 1)].types):
        return value
    raise wrong_argument(row, index, value)


def call_bound(run: Run, row: Builtin, args: Iterable[Value]) -> Value:
    """Call a builtin with arguments only known now."""
    run.charge(_UNITS_A_SPREAD)
    return BoundBuiltin(row, run).call(*args)


def invoking(run: Run, function: Value) -> Callable[..., Value]:
    """Give what calls a value that is no function of the script, or one that takes another number of arguments."""
    return partial(run.invoke, function)


def call_spread(run: Run, function: HslFunction, args: Iterable[Value]) -> Value:
    """Call a function with a number of arguments only known now."""
    run.charge(_UNITS_A_SPREAD)
    return run.invoke(function, *args)


# ---- exceptions -------------------------------------------------------------------------------------


def deeper(run: Run) -> NoReturn:
    """Raise the error of a generator that goes on too deep among the calls."""
    raise run.too_deep()


def unmatched(value: Value) -> NoReturn:
    """Raise the error of a `match` in which nothing equals the value."""
    raise ScriptError("R114", f"no candidate of `match` equals {describe(value)}", hint="add a `default` arm")


def throw(run: Run, value: Value) -> NoReturn:
    """Do `throw value`."""
    if value.__class__ is HslObject and isinstance(value.host, ScriptError):
        raise value.host
    shown = to_echo(run, value)
    raise Thrown(value, shown if len(shown) <= 200 else shown[:200] + "...")


def caught(run: Run, error: Exception) -> Value:
    """Give the value for the variable of `catch`. What is no script error rises on."""
    program = run.program
    assert program is not None
    found = as_script_error(program, error)
    place(program, found, error.__traceback__, looks=False)  # scripts see no arguments, and catch more often than fail
    if isinstance(found, Thrown):
        return found.value
    if isinstance(found, ScriptError):
        return exception_object(found)
    if isinstance(found, LimitExceeded):
        raise found from None
    raise error


def exception_object(error: ScriptError) -> HslObject:
    """Give the `Exception` object that stands for a script error."""
    return HslObject("Exception", EXCEPTION, error)


def _error(this: HslObject) -> ScriptError:
    assert isinstance(this.host, ScriptError)
    return this.host


def _position(this: HslObject) -> tuple[str | None, float | None, float | None]:
    """Give file, line and column of a script error; of what a script made itself there are none."""
    error = _error(this)
    if error.code == "R107" or not isinstance(error.span, Span):
        return None, None, None
    line, column = error.span.source.position(error.span.start)
    return error.span.source.path, float(line), float(column)


def _to_string(this: HslObject) -> str:
    path, line, column = _position(this)
    return _error(this).message if path is None else f"{_error(this).message} in {path}:{line:.0f}:{column:.0f}"


_EXCEPTION_METHODS: dict[str, Callable[[HslObject], Value]] = {
    "toString": _to_string,
    "message": lambda this: _error(this).message,
    "file": lambda this: _position(this)[0],
    "line": lambda this: _position(this)[1],
    "column": lambda this: _position(this)[2],
}
EXCEPTION = ClassInfo(
    0, "Exception", {name: Method(call, 0, 0) for name, call in _EXCEPTION_METHODS.items()}, frozenset(), frozenset()
)
