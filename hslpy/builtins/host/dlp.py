"""ScanDLP, and the plugin's dlp(): what rules of the settings or of the script find in a message. In: rules, options.

Out: names of rules, or where they matched. The scanning is `scan/dlp.py`'s. Source: the HSL manual, 2015 to 2019.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from hslpy.builtins.host.contract import HookHost
from hslpy.builtins.host.files import file_of
from hslpy.builtins.host.options import ARRAY, BOOLEAN, NUMBER, TEXT, read_integer, read_options, read_seconds, text_list
from hslpy.builtins.host.state import DataState
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.diagnostics import suggest
from hslpy.lang.run import Run
from hslpy.lang.values import Array, HslObject, Value, type_name
from hslpy.scan.dlp import BUILT_IN, KINDS, UNKNOWN_ERROR, BadPattern, DlpEngine, DlpOptions, DlpResult, DlpRule

TOPIC = Topic("data loss prevention")

_HOOKS = ("data", "eod")
_OPTIONS = {
    "stop_on_match": BOOLEAN,
    "timeout": NUMBER,
    "recursion_limit": NUMBER,
    "partid": BOOLEAN,
    "extended_result": BOOLEAN,
}
_PLUGIN_OPTIONS = {
    "path": TEXT,
    "address": TEXT,
    "port": NUMBER,
    "connect_timeout": NUMBER,
    "timeout": NUMBER,
    "id": TEXT,
    "short_circuit": BOOLEAN,
    "time_limit": NUMBER,
    "recursion_limit": NUMBER,
    "rules": ARRAY,
}
_PATTERNS = dict.fromkeys(KINDS, (*ARRAY, *TEXT))
_NOTHING = Array({}, 0)
_MOST_RULES = 1000
_MOST_DEPTH = 50
_DEPTH = 9.0  # the manual's default


def _rules(function: str, engine: DlpEngine, patterns: Array | None) -> tuple[DlpRule, ...]:
    """Give the rules named or written out in an array; all of the settings where there is none."""
    if not patterns:
        return tuple(engine.rules.values())
    found: list[DlpRule] = []
    for key, value in patterns.items.items():
        if value.__class__ is Array:
            found.append(_rule(function, str(key), value))
        elif value.__class__ is not str:
            raise ScriptError("R302", f"{function}() wants names of rules, or arrays of patterns, got {type_name(value)}")
        elif value in engine.rules:
            found.append(engine.rules[value])
        elif value not in BUILT_IN:
            hint = suggest(value, engine.rules) or "rules are `[[scanners.dlp.rules]]` in the server's configuration"
            raise ScriptError("R302", f'{function}() knows no rule "{value[:60]}"', hint=hint)
    if len(found) > _MOST_RULES:
        raise ScriptError("R302", f"{function}() takes at most {_MOST_RULES:,} rules, got {len(found):,}")
    return tuple(found)


def _rule(function: str, name: str, patterns: Array) -> DlpRule:
    given = read_options(f"rule {name} of {function}", patterns, _PATTERNS)
    return DlpRule(name, *(text_list(f"`{kind}` of rule {name}", given.get(kind, _NOTHING)) for kind in KINDS))


def _scan(
    call: Run, function: str, content: bytes, rules: Sequence[DlpRule], options: DlpOptions, host: HookHost
) -> DlpResult:
    call.reserve(2 * len(content))
    try:
        result: DlpResult = call.wait(host.services.dlp.scan(content, rules, options))
    except BadPattern as error:
        raise ScriptError("R302", f"{function}(): {error}") from None
    if result.problem:
        host.services.log("hooks.dlp_incomplete", {"level": "warning", **host.ids, "problem": result.problem})
    return result


def _placed(result: DlpResult) -> Array:
    return Array.of([Array.mapping({"partid": part_id, "rule": rule}) for rule, part_id in result.matches])


@TOPIC.builtin(
    "ScanDLP([patterns: array], [options: array]) -> array",
    effect=Effect.IO,
    hooks=_HOOKS,
    examples=[
        'ScanDLP(["PROGRAMS" => ["filename" => ["/[.](exe|scr)$/i"], "mimetype" => ["/x-dosexec/"]]])',
        'if (ScanDLP(["CREDIT_CARDS"])) Reject();',
    ],
)
def scan_dlp(call: Run, patterns: Array | None = None, options: Array | None = None) -> Array:
    """Give the names of the rules that match the message, its parts, or the files in archives within them.

    `patterns` are names of rules of the settings (`[[scanners.dlp.rules]]`; without any, all of them) or rules under their
    names: arrays with lists of "filename", "mimetype" (declared, or found from the content), "regex" (headers, texts and
    contents), "md5hash", "sha1hash", "sha2hash". A rule matches what any of its patterns does; patterns without slashes
    ignore case.

    Zip, tar, gzip, bzip2, xz, Office files and messages are opened. Also given: "ERR_PASSWORD_PROTECTED",
    "ERR_RECURSION_LIMIT" for what is too nested, "ERR_UNKNOWN_ERROR" for a broken archive, and where the time or another
    limit of the settings ended the scan; the log says which.

    | option | what it does | default |
    |---|---|---|
    | `stop_on_match` | end at the first match | false |
    | `timeout` | in seconds, at most that of the settings | that |
    | `recursion_limit` | how deep to look into parts and archives | 9 |
    | `partid` | give arrays of "partid" and "rule" | false |
    | `extended_result` | give ["rules" => list], with "error" => true after an error | false |
    """
    given = read_options("ScanDLP", options, _OPTIONS, ("attachmentid",))
    host: HookHost = call.host
    state: DataState = host.state
    rules = _rules("ScanDLP", host.services.dlp, patterns)
    chosen = _options("ScanDLP", given, "stop_on_match", "timeout")
    key = f"dlp {rules!r} {chosen!r}"
    if key not in state.scans:  # a classic script runs once a recipient, and asks each time
        state.scans[key] = _scan(call, "ScanDLP", state.message.content, rules, chosen, host)
    result: DlpResult = state.scans[key]
    found = _placed(result) if given.get("partid") else Array.of(list(dict.fromkeys(rule for rule, _ in result.matches)))
    if not given.get("extended_result"):
        return found
    failed = any(rule == UNKNOWN_ERROR for rule, _ in result.matches)
    return Array.mapping({"rules": found, "error": True} if failed else {"rules": found})


def _options(function: str, given: dict[str, Value], stop: str, timeout: str) -> DlpOptions:
    """Give the options of a scan, which have other names in the plugin; a timeout of 0 is none."""
    seconds = read_seconds(function, timeout, given.get(timeout, 0.0))
    return DlpOptions(
        stop_on_match=given.get(stop, False),
        timeout_s=seconds or None,
        recursion_limit=read_integer(function, "recursion_limit", given.get("recursion_limit", _DEPTH), 0, _MOST_DEPTH),
    )


@TOPIC.builtin(
    "dlp(file: File, [options: array]) -> array",
    effect=Effect.IO,
    examples=['dlp($mail->toFile(), ["rules" => [["name" => "SECRET", "regex" => ["/secret/i"]]]])["result"]'],
)
def dlp(call: Run, file: HslObject, options: Array | None = None) -> Array:
    """Give what rules match in a file with a message, as ScanDLP() finds it: ["result" => list of ["partid", "rule"]].

    Options: "rules", an array of names or of arrays with "name" and patterns; "short_circuit" to end at the first match;
    "time_limit" in seconds; "recursion_limit" (9). "path", "address", "port", "connect_timeout" and "timeout" say in the
    original where its daemon is, "id" what it logs; here the server scans by itself, and they change nothing. A file that
    cannot be read gives ["error" => text].
    """
    given = read_options("dlp", options, _PLUGIN_OPTIONS)
    host: HookHost = call.host
    named = Array({}, 0)
    for key, value in given.get("rules", _NOTHING).items.items():
        if value.__class__ is not Array:
            named.set(key, value)
            continue
        name = value.items.get("name")
        if name.__class__ is not str:
            raise ScriptError("R302", "dlp() wants a `name` of each rule")
        named.set(name, Array.mapping({str(kind): one for kind, one in value.items.items() if kind != "name"}))
    chosen = _options("dlp", given, "short_circuit", "time_limit")
    stream = file_of(file)
    try:
        stream.seek(0, os.SEEK_SET)
        call.reserve(2 * stream.left())
        content = call.offload(stream.read, stream.left())
    except (OSError, ValueError) as error:
        return Array.mapping({"error": str(error)})
    found = _rules("dlp", host.services.dlp, named)
    return Array.mapping({"result": _placed(_scan(call, "dlp", content, found, chosen, host))})
