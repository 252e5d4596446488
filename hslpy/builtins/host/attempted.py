"""What came of an attempt, as scripts see it. In: `AttemptFacts`. Out: arrays. Source: the HSL manual, Post-delivery."""

from __future__ import annotations

from hslpy.lang.values import Array, Value
from hslpy.mail.attempt import AttemptFacts, TlsFacts


def tls_array(tls: TlsFacts) -> dict[str, Value]:
    """Give the TLS of a connection."""
    fields: dict[str, Value] = {"protocol": tls.protocol, "cipher": tls.cipher, "keysize": float(tls.key_bits)}
    if tls.sni is not None:
        fields["sni"] = tls.sni
    return fields


def attempt_array(facts: AttemptFacts) -> Array:
    """Give `result` or `error`, with `connection` where there was one, and `duration`."""
    fields: dict[str, Value] = {"duration": facts.duration_s}
    if facts.code:
        result: dict[str, Value] = {
            "code": float(facts.code),
            "reason": Array.of(facts.reason),
            "state": facts.state,
        }
        if facts.enhanced is not None:
            result["enhanced"] = Array.of(float(n) for n in facts.enhanced)
        fields["result"] = Array.mapping(result)
    else:
        fields["error"] = Array.mapping(
            {"temporary": facts.error_temporary, "message": facts.error or "", "type": facts.error_type}
        )
    if facts.local_ip or facts.remote_ip:
        connection: dict[str, Value] = {
            "localip": facts.local_ip,
            "helo": facts.helo,
            "localipid": facts.source_id,
            "remoteip": facts.remote_ip,
            "remotemx": facts.remote_mx,
        }
        if facts.tls is not None:
            connection["tls"] = Array.mapping({"started": True, **tls_array(facts.tls)})
        fields["connection"] = Array.mapping(connection)
    return Array.mapping(fields)
