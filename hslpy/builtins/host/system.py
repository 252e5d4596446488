"""What a script may ask of the server it runs in. In: the run. Out: text."""

from __future__ import annotations

from hslpy.builtins.host.contract import HookHost
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run

TOPIC = Topic("system")


@TOPIC.builtin("gethostname() -> string", effect=Effect.READS, examples=["$name = gethostname();"])
def gethostname(call: Run) -> str:
    """Give the server's own name, as in its greeting; `localhost` outside of a server."""
    host: HookHost = call.host
    return host.services.hostname


@TOPIC.builtin("serial() -> string", effect=Effect.READS, examples=["$id = serial();"], deprecated="gethostname()")
def serial(call: Run) -> str:
    """Give what tells this server from others: its name, where the original gives the number of its licence."""
    return gethostname(call)
