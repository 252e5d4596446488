"""GetTLS(): how the connection at hand is encrypted. In: the event. Out: an array. Source: the manual's GetTLS, 2018."""

from __future__ import annotations

from hslpy.builtins.host.options import read_options
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array

TOPIC = Topic("tls")


@TOPIC.builtin(
    "GetTLS([options: array]) -> array",
    effect=Effect.READS,
    hooks=("helo", "auth", "mailfrom", "rcptto", "data", "eod", "postdelivery"),
    examples=['$plain = !GetTLS()["started"];'],
)
def get_tls(call: Run, options: Array | None = None) -> Array:
    """Give ["started"], and under TLS ["protocol", "ciphers", "keysize"]: the client's, in post-delivery the attempt's."""
    read_options("GetTLS", options, {}, ("fingerprint",))
    event = call.host.event
    holder = event.attempt if call.host.hook == "postdelivery" else event.connection
    tls = holder.tls if holder is not None else None
    if tls is None:
        return Array.mapping({"started": False})
    return Array.mapping({"started": True, "protocol": tls.protocol, "ciphers": tls.cipher, "keysize": float(tls.key_bits)})
