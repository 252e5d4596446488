"""What a script may ask of the server it runs in without touching mail. In: the run. Out: text."""

from __future__ import annotations

from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run

TOPIC = Topic("system")


@TOPIC.builtin("gethostname() -> string", effect=Effect.READS, examples=["length(gethostname()) > 0  // true"])
def gethostname(call: Run) -> str:
    """Give the server's own name, as in its greeting; `localhost` outside of a server."""
    return str(getattr(getattr(call.host, "services", None), "hostname", "localhost"))
