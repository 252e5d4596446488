"""What HSL has elsewhere and not here, with the reason: one table, for the checker and the reference. No code.

A row is deleted when its function or class is built. Methods are not listed: they come and go with their classes.
"""

from __future__ import annotations

_QUEUE = "changing the queue's policies and metrics from scripts comes with a later version"
_FFI = "calling C libraries would let a script crash the server"
_APPLIANCE = "it works on the original vendor's appliance only"
_CYREN = "it asks a commercial service that is part of the original vendor's appliance"
_HOOK = "the hook it belongs to exists on the original vendor's appliance only"
_BULK = "it is of a plugin that is not provided; `http()` with the option `background` sends requests one by one"
_GONE = "the original itself dropped it before 2015"

_REASONS: dict[str, str] = {
    _QUEUE: """
        queue_suspend queue_policy queue_policy_delete queue_quota server_concurrency metrics_increment metrics_decrement
        metrics_set metrics_get CurrentConnections PickupPolicy PickupSuspend
    """,
    _FFI: "FFI FFIFunction FFIValue FFIType",
    _APPLIANCE: "History",
    _CYREN: "globalview",
    _BULK: "http_bulk",
    _HOOK: "Allow Block Authenticate Deny",
    _GONE: """
        eval DeliverAsSpam WrapMessage ScanSARules ScanSPF ScanBWList Blacklist
    """,
}

ABSENT: dict[str, str] = {name: reason for reason, names in _REASONS.items() for name in names.split()}
