"""ScanSA, ScanRPD and ScanCLAM: what spamd, rspamd and clamd find in the message. In: options. Out: scores, rules, classes.

ScanKAV and ScanRPDAV are there for scripts that name them without calling them, as wrappers for a log do.

A message is scanned once by each, whatever the number of recipients. One that fails finds nothing, or defers the message,
by the setting `scanners.on_failure`. Which rspamd result is which class is the scanner's own mapping.
"""

from __future__ import annotations

from typing import Any

from hslpy.builtins.host.contract import HookHost
from hslpy.builtins.host.options import ARRAY, BOOLEAN, read_options, text_list
from hslpy.builtins.host.state import DataState, Outcome
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run, VerdictGiven
from hslpy.lang.values import Array
from hslpy.mail.reply import Reply
from hslpy.scan.contract import ClamResult, RspamdResult, ScannerFailed, ScanRequest, SpamScore

TOPIC = Topic("scanners")

_HOOKS = ("data", "eod")
_CLASS_NAMES = {0: "unknown", 10: "suspect", 40: "valid-bulk", 50: "bulk", 100: "spam"}
_SA_OPTIONS = {"rules": BOOLEAN, "extended_result": BOOLEAN}
_RPD_OPTIONS = {"outbound": BOOLEAN, "extended_result": BOOLEAN}
_DEFERS = object()  # the kept result of a scanner that failed where the setting says `defer`
_DEFERRED = Reply(451, (4, 3, 0), ("Temporary content scanner failure",))


@TOPIC.builtin(
    "ScanSA([options: array]) -> number | array",
    effect=Effect.IO,
    hooks=_HOOKS,
    examples=["ScanSA() > 5", 'ScanSA(["rules" => true])["BAYES_99"] ?? 0'],
)
def scan_sa(call: Run, options: Array | None = None) -> float | Array:
    """Give SpamAssassin's score (5 and more is spam); with "rules" => true the scores of the rules that hit."""
    given = read_options("ScanSA", options, _SA_OPTIONS)
    result: SpamScore | None = _scan(call, "ScanSA", "spamassassin")
    if not given:
        return float(result.score) if result else 0.0
    rules = Array.mapping(dict(result.rules) if result else {})
    if given.get("extended_result"):
        fields = {"rules": rules, "score": result.score} if result else {"rules": rules, "error": True}
        return Array.mapping(fields)
    if given.get("rules"):
        return rules
    return float(result.score) if result else 0.0


@TOPIC.builtin(
    "ScanRPD([options: array]) -> number | array",
    effect=Effect.IO,
    hooks=_HOOKS,
    examples=["ScanRPD() == 100"],
)
def scan_rpd(call: Run, options: Array | None = None) -> float | Array:
    """Give the class: 0 unknown, 10 suspect, 40 valid bulk, 50 bulk, 100 spam.

    With "extended_result" => true an array: "spam_score" is that number, "spam_class" its name, "rules" the symbols that
    hit, and "error" is true where the scan failed. "outbound" is taken and changes nothing.
    """
    given = read_options("ScanRPD", options, _RPD_OPTIONS, ("refid",))
    result: RspamdResult | None = _scan(call, "ScanRPD", "rspamd")
    spam_class = result.spam_class if result else 0
    if not given.get("extended_result"):
        return float(spam_class)
    fields = {
        "spam_score": float(spam_class),
        "spam_class": _CLASS_NAMES.get(spam_class, "unknown"),
        "rules": Array.of(list(result.symbols) if result else []),
    }
    return Array.mapping(fields if result else {**fields, "error": True})


@TOPIC.builtin(
    "ScanCLAM([options: array]) -> array",
    effect=Effect.IO,
    hooks=_HOOKS,
    examples=["if (ScanCLAM()) Reject();", 'ScanCLAM(["signature_exclude" => ["Heuristics.Encrypted.PDF"]])'],
)
def scan_clam(call: Run, options: Array | None = None) -> Array:
    """Give the names of what ClamAV found, an empty list of a clean message.

    "signature_exclude" is a list of names to leave out. "extended_result" => true gives ["rules" => list], with "error" =>
    true where the scan failed.
    """
    given = read_options("ScanCLAM", options, {"extended_result": BOOLEAN, "signature_exclude": ARRAY})
    excluded = text_list("option `signature_exclude` of ScanCLAM()", given.get("signature_exclude", Array({}, 0)))
    result: ClamResult | None = _scan(call, "ScanCLAM", "clamd")
    names = Array.of([name for name in result.names if name not in excluded] if result else [])
    if not given.get("extended_result"):
        return names
    return Array.mapping({"rules": names} if result else {"rules": names, "error": True})


@TOPIC.builtin("ScanKAV([options: array]) -> array", effect=Effect.IO, hooks=_HOOKS, examples=["if (ScanKAV()) Reject();"])
def scan_kav(call: Run, options: Array | None = None) -> Array:
    """Fail: there is no Kaspersky scanner to configure. ScanCLAM() asks ClamAV."""
    raise _unsupported("ScanKAV")


@TOPIC.builtin(
    "ScanRPDAV([options: array]) -> number", effect=Effect.IO, hooks=_HOOKS, examples=["if (ScanRPDAV() == 100) Reject();"]
)
def scan_rpd_av(call: Run, options: Array | None = None) -> float:
    """Fail: there is no outbreak scanner to configure. ScanCLAM() asks ClamAV."""
    raise _unsupported("ScanRPDAV")


def _unsupported(function: str) -> ScriptError:
    message = f"{function}() wants a scanner of a kind that cannot be configured"
    return ScriptError("R307", message, hint="ScanCLAM() asks ClamAV")


def _scan(call: Run, function: str, name: str) -> Any:
    """Give the scanner's result for the message at hand, None where it failed. Both are kept for the message."""
    host: HookHost = call.host
    state: DataState = host.state
    if name in state.scans:
        return _answer(state, state.scans[name])
    scanner = getattr(host.services, name)
    if scanner is None:
        raise ScriptError(
            "R307",
            f"{function}() wants a scanner, and none is configured",
            hint=f"set `[scanners.{name}]` in the server's configuration",
        )
    event = host.event
    request = ScanRequest(
        content=state.message.content,
        sender=str(event.transaction.sender),
        recipients=tuple(str(one.address) for one in event.transaction.recipients),
        remote_ip=event.connection.remote_ip,
        helo=event.connection.helo.host if event.connection.helo else "",
        username=(event.connection.auth.username or "") if event.connection.auth else "",
        transaction_id=event.transaction.id,
    )
    try:
        result = call.wait(scanner.scan(request))
    except ScannerFailed as error:
        defers = host.services.scanner_failure == "defer"
        answer = "defer" if defers else "nothing found" if name == "clamd" else "score 0"
        fields = {"level": "warning", **host.ids, "scanner": name, "error": error.message, "answer": answer}
        host.services.log("hooks.scanner_failed", fields)
        result = _DEFERS if defers else None
    state.scans[name] = result
    return _answer(state, result)


def _answer(state: DataState, result: Any) -> Any:
    """Give a result as it was kept, or end the script for a scanner that failed and must not."""
    if result is _DEFERS:
        state.act(Outcome("defer", _DEFERRED))
        raise VerdictGiven(None)
    return result
