"""SetMetaData and GetMetaData: texts kept with a queued message. In: arrays of strings. Out: the same.

At `data` they belong to this and the following recipients; in the queue to the recipient, over all its attempts.
"""

from __future__ import annotations

from hslpy.builtins.host.options import map_array, read_metadata
from hslpy.builtins.host.state import QueueState
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array

TOPIC = Topic("metadata")

_HOOKS = ("data", "predelivery", "postdelivery")


@TOPIC.builtin(
    "SetMetaData(metadata: array) -> none", effect=Effect.IO, hooks=_HOOKS, examples=['SetMetaData(["spam" => "yes"]);']
)
def set_metadata(call: Run, metadata: Array) -> None:
    """Replace the metadata: an array of strings by name."""
    state = call.host.state
    state.metadata = read_metadata(metadata)
    if isinstance(state, QueueState):
        state.metadata_changed = True


@TOPIC.builtin(
    "GetMetaData() -> array", effect=Effect.READS, hooks=_HOOKS, examples=['$spam = GetMetaData()["spam"] ?? "no";']
)
def get_metadata(call: Run) -> Array:
    """Give the metadata, an empty array when there is none."""
    return map_array(call.host.state.metadata)
