"""Post-delivery: what becomes of the message after an attempt or an expiry. In: options. Out: `QueueVerdict`.

After a successful delivery there is nothing left to decide: every verdict but `Default` is then a script error.
Source: the HSL manual, Post-delivery.
"""

from __future__ import annotations

from hslpy.builtins.host.attempt import queue_options
from hslpy.builtins.host.dsn import read_dsn
from hslpy.builtins.host.options import ARRAY, read_options
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run, VerdictGiven
from hslpy.lang.values import Array
from hslpy.mail.verdict import QueueVerdict

TOPIC = Topic("outcome")

_POST = ("postdelivery",)


def _check_undelivered(call: Run, function: str) -> None:
    if call.host.event.action is None:
        raise ScriptError(
            "R305",
            f"{function}() was called for a message that has been delivered",
            hint='ask first: `if ($arguments["action"])`, or `if ($errorcode != 250)`',
        )


@TOPIC.builtin(
    "Queue([options: array]) -> terminates", effect=Effect.IO, hooks=_POST, examples=['Queue(["delay" => 3600]);']
)
def queue(call: Run, options: Array | None = None) -> None:
    """Keep the message for another attempt, by the retry schedule or as the options say: Queue() of predelivery has them."""
    _check_undelivered(call, "Queue")
    raise VerdictGiven(QueueVerdict("queue", queue=queue_options(call, "Queue", options)))


@TOPIC.builtin(
    "Retry([options: array]) -> terminates", effect=Effect.IO, hooks=_POST, examples=['Retry(["delay" => 3600]);']
)
def retry(call: Run, options: Array | None = None) -> None:
    """Keep the message for another attempt. Now `Queue`, whose options it takes."""
    _check_undelivered(call, "Retry")
    raise VerdictGiven(QueueVerdict("queue", queue=queue_options(call, "Retry", options)))


@TOPIC.builtin("Bounce([options: array]) -> terminates", effect=Effect.IO, hooks=_POST, examples=["Bounce();"])
def bounce(call: Run, options: Array | None = None) -> None:
    """Remove the message and report it to the sender. Option `dsn`: what the report is like, by the options of SetDSN()."""
    _check_undelivered(call, "Bounce")
    read_dsn(call, "Bounce", read_options("Bounce", options, {"dsn": ARRAY}).get("dsn"))
    raise VerdictGiven(QueueVerdict("bounce"))


@TOPIC.builtin("GenerateDSN() -> terminates", effect=Effect.IO, hooks=_POST, examples=["GenerateDSN();"], deprecated="2017")
def generate_dsn(call: Run) -> None:
    """Remove the message and report it to the sender. Now `Bounce`."""
    _check_undelivered(call, "GenerateDSN")
    raise VerdictGiven(QueueVerdict("bounce"))


@TOPIC.builtin("Delete() -> terminates", effect=Effect.IO, hooks=_POST, examples=["Delete();"])
def delete(call: Run) -> None:
    """Remove the message without a report."""
    _check_undelivered(call, "Delete")
    raise VerdictGiven(QueueVerdict("delete"))


@TOPIC.builtin("Default() -> terminates", effect=Effect.IO, hooks=_POST, examples=["Default();"])
def default(call: Run) -> None:
    """End the script; what would have happened without it happens."""
    raise VerdictGiven(QueueVerdict("default"))
