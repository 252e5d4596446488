"""The hooks by name, each with its moment in words. In: nothing. Out: `MOMENTS`, in the order mail takes.

Apart from `table.py` so that reading settings, as every command does, need not wait for the builtins. Source: the HSL
manual's hook pages.
"""

from __future__ import annotations

MOMENTS = {
    "connect": "a client has connected",
    "proxy": "a command line has come, before the server takes it up",
    "helo": "HELO or EHLO",
    "auth": "AUTH",
    "mailfrom": "MAIL FROM",
    "rcptto": "RCPT TO",
    "data": "the end of DATA, once a recipient (the classic form)",
    "eod": "the end of DATA, once a message (the modern form)",
    "predelivery": "before an attempt at a recipient",
    "postdelivery": "after an attempt, an expiry, or a pre-delivery script's order to delete or bounce",
    "disconnect": "the connection has ended",
}
