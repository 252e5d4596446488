"""Data imports: a file's content as a value, by its extension. In: the text and the options of the statement. Out: what
gives the value to a run.

Values are made once and shared by all runs, but for messages, which scripts may change. Must not know where files are.
Source: the HSL manual, import, data; .yaml, .eml, .crt and .key as public scripts use them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from hslpy.builtins.core.arguments import read_options
from hslpy.builtins.core.certificates import X509, x509_string
from hslpy.builtins.core.certificates import to_resource as certificate_resource
from hslpy.builtins.core.jsontext import json_decode, json_fault
from hslpy.builtins.core.keys import ec_privatekey, ed25519_privatekey, rsa_privatekey
from hslpy.builtins.core.tables import csv_decode, csv_fault
from hslpy.builtins.core.yamltext import yaml_decode, yaml_fault
from hslpy.builtins.host.mailmessage import string as message_of
from hslpy.errors import ScriptError
from hslpy.lang.data import Constants, DataImports, Give, array_of_constants
from hslpy.lang.run import Limits, Run
from hslpy.lang.source import Source
from hslpy.lang.values import Array, Value, own

Reader = Callable[[Run, Source, Array], Value]

_ENDLESS = 1 << 60
_LIMITS = Limits(  # loading has no limits but those of the file's size
    steps=_ENDLESS, wall_s=1e15, cpu_s=1e15, memory_bytes=_ENDLESS, string_bytes=_ENDLESS, regex_s=1e15
)


def read_data(kind: str, source: Source, options: Constants) -> Give:
    """Give what gives the value of a data file. Raises ScriptError: R301, R302 for options, E403 for bad content.

    `kind` is one of `KINDS`.
    """
    known = _kept.setdefault(source, {})
    key = (kind, repr(options))
    give = known.get(key)
    if give is None:
        give = known[key] = _give(kind, source, array_of_constants(options))
    return give


_kept: WeakKeyDictionary[Source, dict[tuple[str, str], Give]] = WeakKeyDictionary()


def _give(kind: str, source: Source, options: Array) -> Give:
    if kind == "eml":
        read_options(_what(kind), options, {})
        return lambda run: message_of(run, source.text)
    value = _READERS[kind](Run(limits=_LIMITS), source, options)
    return lambda run: own(value)


def _what(kind: str) -> str:
    return f"import of .{kind}"


def _bad(source: Source, what: str, offset: int, hint: str | None = None) -> ScriptError:
    line, column = source.position(min(offset, len(source.text)))
    return ScriptError("E403", f"{what} in {source.path}:{line}:{column}", hint=hint)


def _standing(source: Source, offset: int) -> str | None:
    """Give what stands at a place, for a hint; not for keys, which nobody's log should have."""
    there = source.text[offset : offset + 20].split("\n")[0].strip()
    if there:
        return f"`{there}` stands there"
    return None if source.text[offset:].strip() else "the file ends there"


def _json(run: Run, source: Source, options: Array) -> Value:
    read_options(_what("json"), options, {})
    for comments in (False, True):
        value = json_decode(run, source.text, Array.mapping({"allow_comments": comments}))
        if value is not None:
            return value
    fault = json_fault(run, source.text)
    if fault is not None:
        raise _bad(source, "no JSON", fault, _standing(source, fault))
    return None


def _yaml(run: Run, source: Source, options: Array) -> Value:
    read_options(_what("yaml"), options, {})
    value = yaml_decode(run, source.text)
    if value is None:
        fault = yaml_fault(run, source.text)
        if fault is not None:
            raise _bad(source, fault[0], fault[1])
    return value


def _csv(run: Run, source: Source, options: Array) -> Value:
    value = csv_decode(run, source.text, options)
    if value is None:
        raise _bad(source, *csv_fault(run, source.text, options))
    return value


def _txt(run: Run, source: Source, options: Array) -> Value:
    if not read_options(_what("txt"), options, {"array": False})["array"]:
        return source.text
    lines = source.text.split("\n")
    if not lines[-1]:
        lines.pop()  # the last line's end
    return Array.of([line.removesuffix("\r") for line in lines])


def _crt(run: Run, source: Source, options: Array) -> Value:
    chosen = read_options(_what("crt"), options, {"resource": False})
    found = x509_string(source.text, Array.mapping({"multiple": True}))
    if found is None:
        raise _bad(source, "no certificate", 0)
    if not chosen["resource"]:
        return source.text
    assert isinstance(found, Array)
    return Array.of([certificate_resource(one) for one in found.values() if one.class_name == X509])


def _key(run: Run, source: Source, options: Array) -> Value:
    chosen = read_options(_what("key"), options, {"resource": True})
    for read in (rsa_privatekey, ec_privatekey, ed25519_privatekey):
        key: Any = read(source.text)
        if key is not None:
            return key if chosen["resource"] else source.text
    raise _bad(source, "no private key in PEM that is without a passphrase", 0)


_READERS: dict[str, Reader] = {
    "json": _json,
    "csv": _csv,
    "txt": _txt,
    "yaml": _yaml,
    "yml": _yaml,
    "crt": _crt,
    "key": _key,
}
KINDS = (*_READERS, "eml")
DATA = DataImports(KINDS, read_data)
