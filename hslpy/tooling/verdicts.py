"""Verdicts for people and for tests of scripts. In: a verdict. Out: lines of text, or an HSL array.

The names in both are HSL's own. Must not know how a verdict came about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

from hslpy.lang.values import Array, Value
from hslpy.mail.reply import Reply
from hslpy.mail.verdict import (
    DataVerdict,
    Delivery,
    QueueOptions,
    QueueVerdict,
    SmtpVerdict,
    SourceChoice,
    TryOptions,
    Verdict,
)
from hslpy.tooling.notation import notation, quoted

# HSL's names for what they are called inside, where removing `_` does not give them.
_HSL_NAMES = {
    "sources": "sourceip",
    "job_id": "jobid",
    "delay_s": "delay",
    "timeout_s": "timeout",
    "state_timeouts": "timeout",
    "connect_timeout_s": "connect_timeout",
}
_KEEP = {"tls_sni", "tls_verify_name", "tls_verify_host", "sasl_username", "sasl_password", "mx_include", "mx_exclude"}
_KEEP |= {"increment_retry", "reset_retry", "tls_protocols", "tls_ciphers", "tls_default_ca", "tls_client_cert"}


# ---- as an array, for tests -----------------------------------------------------------------------


def verdict_array(verdict: Verdict) -> dict[str, Value]:
    """Give what run_hook() gives of a verdict: always "action" and "failed", the rest where it is set."""
    out: dict[str, Value] = {"action": verdict.action, "failed": verdict.failed}
    if isinstance(verdict, QueueVerdict):
        out |= _options(verdict.attempt, TryOptions()) | _options(verdict.queue, QueueOptions())
        if verdict.metadata is not None:
            out["metadata"] = _texts(verdict.metadata)
        return out
    if verdict.reply is not None:
        out |= _reply(verdict.reply)
    if verdict.disconnect:
        out["disconnect"] = True
    if isinstance(verdict, DataVerdict):
        out["deliveries"] = Array.of([_delivery(one) for one in verdict.deliveries])
        return out
    return out | _options(verdict, SmtpVerdict(verdict.action), skip=("action", "reply", "disconnect", "failed", "by"))


def _reply(reply: Reply) -> dict[str, Value]:
    out: dict[str, Value] = {"code": float(reply.code), "reason": reply.text}
    if reply.enhanced is not None:
        out["enhanced"] = Array.of([float(part) for part in reply.enhanced])
    return out


def _delivery(one: Delivery) -> Array:
    out: dict[str, Value] = {
        "recipient": str(one.recipient),
        "sender": str(one.sender),
        "transportid": one.transport_id,
        "metadata": _texts(one.metadata),
        "hold": one.hold,
        "delay": one.delay_s,
    }
    for name, value in (("quarantine", one.quarantine_id), ("jobid", one.job_id or None)):
        if value is not None:
            out[name] = value
    for name, content in (("header", one.header), ("body", one.body)):
        if content is not None:
            out[name] = content.decode("latin-1")
    return Array.mapping(out)


def _options(given: object, default: object, skip: tuple[str, ...] = ()) -> dict[str, Value]:
    """Give the fields of a dataclass that differ from the default, under HSL's names."""
    out: dict[str, Value] = {}
    for field in fields(given):  # type: ignore[arg-type]
        value = getattr(given, field.name)
        if field.name not in skip and value != getattr(default, field.name):
            out[_hsl_name(field.name)] = _value(value)
    return out


def _hsl_name(name: str) -> str:
    return _HSL_NAMES.get(name) or (name if name in _KEEP else name.replace("_", ""))


def _value(value: object) -> Value:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, Mapping):
        return _texts(value)
    if isinstance(value, SourceChoice):
        name = value.id or value.address or ""
        return name if value.helo is None else Array.mapping({"id" if value.id else "address": name, "helo": value.helo})
    if isinstance(value, tuple):
        return Array.of([_value(part) for part in value])
    return str(value)


def _texts(values: Mapping[str, str | float]) -> Array:
    out = Array({}, 0)
    for key, value in values.items():
        out.set(key, value)
    return out


# ---- as text, for people --------------------------------------------------------------------------


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """Give a verdict as lines, the first `verdict: Defer 450 4.7.1 "Try later"`, the rest what comes with it."""
    note = "  (instead of the script's, which failed)" if verdict.failed else ""
    reply = verdict.reply if not isinstance(verdict, QueueVerdict) else None
    yield f"verdict: {_title(verdict)}{_reply_text(reply)}{note}"
    if isinstance(verdict, DataVerdict):
        for one in verdict.deliveries:
            yield from _delivery_lines(one)
        return
    for name, value in verdict_array(verdict).items():
        if name not in ("action", "failed", "code", "enhanced", "reason"):
            yield f"  {name}: {notation(value)}"


def _title(verdict: Verdict) -> str:
    if isinstance(verdict, DataVerdict) and verdict.action == "accept" and not verdict.deliveries:
        return "Accept, and deliver to nobody"
    if verdict.action == "default":
        return "none: what was to happen happens"
    return verdict.action.capitalize()


def _reply_text(reply: Reply | None) -> str:
    if reply is None:
        return ""
    enhanced = " {}.{}.{}".format(*reply.enhanced) if reply.enhanced else ""
    return f" {reply.code}{enhanced} {quoted(reply.text)}"


def _delivery_lines(one: Delivery) -> Iterator[str]:
    what = "quarantine for" if one.quarantine_id is not None else "hold for" if one.hold else "deliver to"
    yield f"  {what} <{one.recipient}> from <{one.sender}> by {one.transport_id}"
    if one.delay_s:
        yield f"    delay: {one.delay_s:g} s"
    if one.metadata:
        yield f"    metadata: {notation(_texts(one.metadata))}"
    if one.job_id:
        yield f"    jobid: {one.job_id}"
    if one.header is not None:
        yield "    header:"
        for line in one.header.decode("latin-1").split("\r\n"):
            if line:
                yield f"      {line}"
    if one.body is not None:
        yield f"    body: changed, {len(one.body)} bytes"
