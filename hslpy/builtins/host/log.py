"""syslog() and stat(): records in the server's log. In: priority and text, or figures. Out: records with the run's ids."""

from __future__ import annotations

from hslpy.builtins.core.arguments import unknown_word
from hslpy.errors import ScriptError
from hslpy.lang.conversions import format_number
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Value, type_name

TOPIC = Topic("log")

PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")  # 0 to 7, as in syslog(3)
_LEVELS = {
    "emerg": "critical",
    "alert": "critical",
    "crit": "critical",
    "err": "error",
    "warning": "warning",
    "debug": "debug",
}
_ALIASES = {"panic": "emerg", "error": "err", "warn": "warning"}
LOG_TEXT_BYTES = 16_384  # of one record


def log_text(text: str) -> str:
    """Give a script's text as the log has it: UTF-8 where it is, and not endless."""
    return text[:LOG_TEXT_BYTES].encode("latin-1", "replace").decode("utf-8", "replace")


@TOPIC.builtin(
    "syslog(priority: string | number, message: string) -> none",
    effect=Effect.IO,
    examples=['syslog("info", "a message was held")  // none'],
)
def syslog(call: Run, priority: Value, message: str) -> None:
    """Log `message` at a priority: emerg, alert, crit, err, warning, notice, info, debug, or its number from 0 to 7."""
    if priority.__class__ is float:
        if priority not in range(192):  # 24 facilities of 8 priorities; the facility is the log's own affair
            raise ScriptError("R108", f"syslog() wants a priority from 0 to 7, got {format_number(priority)}")
        name = PRIORITIES[int(priority) % 8]
    else:
        name = _ALIASES.get(priority) or str(priority)
        if name not in PRIORITIES:
            raise unknown_word("syslog", "priority", priority, PRIORITIES, "R108")
    fields = {"level": _LEVELS.get(name, "info"), **call.host.ids, "priority": name, "text": log_text(message)}
    call.host.services.log("hooks.script_log", fields)


@TOPIC.builtin(
    "stat(name: string, legends: array) -> none",
    effect=Effect.IO,
    examples=['stat("verdicts", ["rejected" => 1])  // none'],
)
def stat(call: Run, name: str, legends: Array) -> None:
    """Log figures of a series: a record with its name and each legend's number, for whatever draws graphs of logs.

    Raises ScriptError R302 for a legend that is no number or boolean.
    """
    figures: dict[str, object] = {}
    for legend, value in legends.items.items():
        if value.__class__ not in (float, bool):
            raise ScriptError("R302", f"stat() wants numbers, got {type_name(value)} as `{str(legend)[:40]}`")
        figures[log_text(str(legend))] = float(value)
    fields = {"level": "info", **call.host.ids, "series": log_text(name), "figures": figures}
    call.host.services.log("hooks.script_stat", fields)
