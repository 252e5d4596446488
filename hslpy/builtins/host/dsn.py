"""What a delivery report is to be like: SetDSN, and the option `dsn` of verdicts. In: options. Out: `DsnOptions`.

Source: the HSL manual, Pre-delivery, SetDSN.
"""

from __future__ import annotations

from hslpy.builtins.host.dkim import signer_from
from hslpy.builtins.host.options import ADDRESS, ARRAY, TEXT, read_address, read_metadata, read_options
from hslpy.builtins.host.state import QueueState
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array
from hslpy.mail.verdict import DsnOptions

TOPIC = Topic("delivery reports")

_QUEUE_HOOKS = ("predelivery", "postdelivery")
_OPTIONS = {
    "transportid": TEXT,
    "recipient": ADDRESS,
    "metadata": ARRAY,
    "from": ADDRESS,
    "from_name": TEXT,
    "dkim": ARRAY,
    "jobid": TEXT,
}


def read_dsn(call: Run, function: str, options: Array | None) -> None:
    """Note what a report on this attempt is to be like. Raises ScriptError."""
    if options is None:
        return
    given = read_options(f"`dsn` of {function}()" if function != "SetDSN" else function, options, _OPTIONS)
    state: QueueState = call.host.state
    state.dsn = DsnOptions(
        transport_id=given.get("transportid"),
        recipient=read_address(function, given["recipient"])[0] if "recipient" in given else None,
        metadata=read_metadata(given["metadata"]) if "metadata" in given else {},
        sender=read_address(function, given["from"])[0] if "from" in given else None,
        sender_name=given.get("from_name"),
        job_id=given.get("jobid"),
        sign=signer_from(call, function, given["dkim"]) if "dkim" in given else None,
    )


@TOPIC.builtin(
    "SetDSN(options: array) -> none",
    effect=Effect.IO,
    hooks=_QUEUE_HOOKS,
    examples=['SetDSN(["transportid" => "bounces", "from_name" => "Example Mail"]);'],
    deprecated="2020",
)
def set_dsn(call: Run, options: Array) -> None:
    """Say what the report is to be like if this attempt comes to one. Now the option `dsn` of the verdicts.

    | option | meaning |
    |---|---|
    | `transportid` | the transport that carries it |
    | `recipient` | who gets it instead of the sender |
    | `metadata` | kept with it |
    | `from`, `from_name` | the address and the name in From |
    | `jobid` | its job id |
    | `dkim` | its signature: `selector`, `domain`, `key`, and the options of signDKIM() |
    """
    read_dsn(call, "SetDSN", options)
