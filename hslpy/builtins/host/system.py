"""What a script may ask of the server it runs in. In: the run. Out: text."""

from __future__ import annotations

from hslpy.builtins.host.contract import HookHost
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array

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


@TOPIC.builtin(
    "get_defined_functions() -> array",
    effect=Effect.READS,
    examples=['if (array_includes("ScanSA", get_defined_functions())) echo "a scanner may be asked";'],
    deprecated="2014",
)
def get_defined_functions(call: Run) -> Array:
    """Give the names of the functions that there are at this hook, in the order of the alphabet; not the script's own."""
    from hslpy.builtins import for_hook  # the tables name this module too

    hook = getattr(call.host, "hook", None) or None
    call.charge(100)
    return Array.of(sorted(name for name, row in for_hook(hook).items() if row.kind == "function"))
