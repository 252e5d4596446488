"""What the vendor's plugins give scripts: getenv(), logger(), bounce_list() and the class Redis. In: texts. Out: values.

`import { ... } from "extras://env"`, `logger`, `bounce-list` and `redis` give these. Source: the plugins' pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hslpy.builtins.host.contract import HookHost
from hslpy.builtins.host.log import log_text
from hslpy.errors import OperatorError, ScriptError
from hslpy.lang import regex
from hslpy.lang.conversions import key_of_text, to_string
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.diagnostics import suggest
from hslpy.lang.growth import ELEMENT_BYTES
from hslpy.lang.run import Run
from hslpy.lang.values import Array, HslObject, Regex, Value, type_name
from hslpy.store.profiles import RedisCommandFailed, RedisProfiles

TOPIC = Topic("services")

CLASS = "Redis"
_MOST_DEPTH = 50  # of a reply of Redis


def _unknown(function: str, kind: str, table: str, name: str, known: Iterable[str]) -> ScriptError:
    ids = list(known)
    others = f"there are {', '.join(ids)}" if ids else f"add a [[{table}]] table for it"
    return ScriptError("R302", f'{function}() knows no {kind} "{log_text(name[:40])}"', hint=suggest(name, ids) or others)


@TOPIC.builtin(
    "getenv(name: string) -> string | none", effect=Effect.READS, examples=['$region = getenv("REGION") ?? "eu";']
)
def getenv(call: Run, name: str) -> str | None:
    """Give a variable of the server's environment as it was at the start; none when there is none.

    Only those that the setting `hooks.environment` names can be read; others are none, and a warning in the log.
    """
    host: HookHost = call.host
    variables = host.services.environment
    if name not in variables:
        fields = {"level": "warning", **host.ids, "name": log_text(name[:100]), "why": "hooks.environment does not name it"}
        host.services.log("hooks.environment_refused", fields)
        return None
    value = variables[name]
    return None if value is None else value.encode("utf-8", "surrogateescape").decode("latin-1")


@TOPIC.builtin(
    "logger(id: string, data: string) -> boolean | none", effect=Effect.IO, examples=['logger("mylog", "hello\\n");']
)
def logger(call: Run, id: str, data: str) -> bool | None:
    """Append `data` as it is to a log file of the settings: true once it is written, none when that fails.

    A file is a [[log_file]] table; one that was rotated away is made anew. Raises ScriptError R302 for an unknown id.
    """
    host: HookHost = call.host
    files = host.services.log_files
    if id not in files.by_id:
        raise _unknown("logger", "log file", "log_file", id, files.by_id)
    call.charge(len(data) >> 10)
    try:
        call.wait(files.append(id, data.encode("latin-1")))
    except OSError as error:
        why = error.strerror or str(error)
        host.services.log("hooks.logger_failed", {"level": "error", **host.ids, "file": id, "why": why})
        return None
    return True


@TOPIC.builtin(
    "bounce_list(id: string, diagnosticcode: string | none, [grouping: string | none, [state: string | none]])"
    " -> array | none",
    effect=Effect.READS,
    examples=['$found = bounce_list("list1", "550 5.7.1 Email quota exceeded.", "&google", "EOD");'],
)
def bounce_list(
    call: Run, id: str, diagnosticcode: str | None, grouping: str | None = None, state: str | None = None
) -> Array | None:
    """Give what a reply means by a bounce list: ["pattern", "value"] of the first line that matches, none when none does.

    A list is a [[bounce_list]] table of the settings, whose file has a line for each pattern:
    `/550 5.7.1/,value,"&google,&hotmail",EOD,comment`. Patterns match in any case, groupings and state restrict a line.
    Raises ScriptError R302 for an unknown id, or a file with errors.
    """
    lists = call.host.services.bounce_lists
    try:
        rules = lists.rules(id)
    except OperatorError as error:
        raise ScriptError("R302", f"bounce_list(): {error.message}") from None
    if rules is None:
        raise _unknown("bounce_list", "list", "bounce_list", id, [each.id for each in lists.lists])
    if diagnosticcode is None:
        return None
    for rule in rules:
        call.charge(1)
        if not rule.concerns(grouping or "", state or ""):
            continue
        if regex.matches(call, diagnosticcode, Regex(rule.pattern, "i")):
            return Array.mapping({"pattern": rule.pattern, "value": rule.value})
    return None


@TOPIC.builtin("Redis([profile: string]) -> Redis", effect=Effect.IO, kind="class", examples=['$redis = Redis("cache");'])
def redis_class(call: Run, profile: str | None = None) -> HslObject:
    """Give a client of a Redis server: of the settings' table [redis], or of a [[redis_profile]] by its id.

    Connections are shared by all scripts, and made when they are first used. Raises ScriptError R302 for an unknown id.
    """
    profiles: RedisProfiles = call.host.services.redis
    if profile is not None and profile not in profiles.settings:
        raise _unknown(CLASS, "profile", "redis_profile", profile, (name for name in profiles.settings if name))
    if profile is None and "" not in profiles.settings:
        hint = "`--config FILE` takes that of the settings; for Sentinels and a cluster give an id of [[redis_profile]]"
        raise ScriptError("R340", "there is no Redis here", hint=hint)
    return HslObject(CLASS, None, profile or "")


@TOPIC.builtin(
    "command(...arguments: any) -> any",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['echo Redis()->command("SET", "key", "value", "EX", "60");'],
)
def command(call: Run, this: HslObject, *arguments: Value) -> Value:
    """Send a command and give its reply: texts, numbers, none, arrays. Numbers and booleans are sent as texts.

    Raises ScriptError R340 with what Redis says, or when it cannot be reached; a script can catch it.
    """
    if not arguments:
        raise ScriptError("R102", "command() wants the name of a command")
    words: list[bytes] = []
    for number, argument in enumerate(arguments, 1):
        if argument.__class__ not in (str, float, bool):
            raise ScriptError("R101", f"command() wants texts and numbers, got {type_name(argument)} as argument {number}")
        words.append(to_string(call, argument).encode("latin-1"))
    call.charge(1 + (sum(map(len, words)) >> 10))
    profiles: RedisProfiles = call.host.services.redis
    name: Any = this.host
    try:
        reply = call.wait(profiles.command(name, words))
    except RedisCommandFailed as error:
        raise ScriptError("R340", f"Redis: {log_text(str(error)[:200])}") from None
    return _value(call, reply, 0)


def _value(call: Run, reply: Any, depth: int) -> Value:
    """Give a reply as scripts have it. An error within a list is its text."""
    if reply is None or reply.__class__ in (bool, float):
        found: Value = reply
        return found
    if isinstance(reply, bytes):
        call.reserve(len(reply))
        return reply.decode("latin-1")
    if isinstance(reply, int):
        return float(reply)
    if isinstance(reply, str):
        return reply.encode("utf-8", "replace").decode("latin-1")
    if depth >= _MOST_DEPTH:
        raise ScriptError("R340", "Redis: the reply is nested too deep")
    if isinstance(reply, dict):
        call.reserve(ELEMENT_BYTES * len(reply))
        pairs = [(_value(call, key, depth + 1), _value(call, value, depth + 1)) for key, value in reply.items()]
        result = Array({}, 0)
        for key, value in pairs:
            result.set(key_of_text(to_string(call, key)), value)
        return result
    if isinstance(reply, list | tuple | set | frozenset):
        call.reserve(ELEMENT_BYTES * len(reply))
        return Array.of([_value(call, each, depth + 1) for each in reply])
    return str(reply).encode("utf-8", "replace").decode("latin-1")
