"""What the server itself says. In: nothing. Out: a table of replies, each rendered once.

A hook's verdict has a reply of its own or one of `mail/policy_replies.py`; these are all the others.
Source: RFC 5321 section 4.2.3, RFC 3463, RFC 5248.
"""

from __future__ import annotations

from hslpy.mail.policy_replies import ACCEPTED, DEFERRED, REJECTED
from hslpy.mail.reply import Reply
from hslpy.records import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class OwnReply:
    """A row: the reply, its bytes, and when it is said (for the reference)."""

    reply: Reply
    wire: bytes
    when: str


TABLE: list[OwnReply] = []


def _own(reply: Reply, when: str) -> OwnReply:
    row = OwnReply(reply, reply.render(), when)
    TABLE.append(row)
    return row


def _row(code: int, enhanced: str, text: str, when: str) -> OwnReply:
    major, minor, detail = (int(part) for part in enhanced.split("."))
    return _own(Reply(code, (major, minor, detail), (text,)), when)


def _bare(code: int, text: str, when: str) -> OwnReply:
    """A 354 has no enhanced code: RFC 2034 section 4 gives them to 2xx, 4xx and 5xx alone."""
    return _own(Reply(code, None, (text,)), when)


# what goes well
SENDER_OK = _own(ACCEPTED["mailfrom"], "MAIL accepted")
RECIPIENT_OK = _own(ACCEPTED["rcptto"], "RCPT accepted")
RESET = _row(250, "2.0.0", "Ok", "RSET, NOOP")
MESSAGE_OK = _own(ACCEPTED["data"], "a message accepted of which nothing is to be delivered")
BYE = _row(221, "2.0.0", "Bye", "QUIT")
START_TLS = _row(220, "2.0.0", "Ready to start TLS", "STARTTLS")
AUTH_OK = _own(ACCEPTED["auth"], "AUTH accepted")
AUTH_REJECTED = _own(REJECTED["auth"], "a wrong user or password; an auth script that never comes to an end")
AUTH_LATER = _own(DEFERRED["auth"], "too many logins at a time; a user whose logins failed too often")
HELP = _row(214, "2.0.0", "EHLO HELO MAIL RCPT DATA RSET NOOP VRFY STARTTLS AUTH HELP QUIT", "HELP")
VERIFY = _row(252, "2.1.5", "Cannot verify, but will take mail for it", "VRFY")
GO_AHEAD = _bare(354, "End data with <CR><LF>.<CR><LF>", "DATA")

# commands that are wrong
UNKNOWN = _row(500, "5.5.1", "Command not recognized", "an unknown command")
NOT_IMPLEMENTED = _row(502, "5.5.1", "Command not implemented", "EXPN, or an extension that is not offered")
LINE_TOO_LONG = _row(500, "5.5.2", "Line too long", "a command line over its limit")
BARE_LINE_END = _row(500, "5.5.2", "Lines must end with CR LF", "a bare CR or LF in a command")
BAD_CHARACTER = _row(500, "5.5.2", "Control and 8-bit characters are not allowed in a command", "NUL or 8-bit in a command")
ADDRESS_8BIT = _row(
    553, "5.6.7", "Internationalized addresses need SMTPUTF8 and valid UTF-8", "8-bit in MAIL or RCPT that may not be there"
)
SYNTAX_HELO = _row(501, "5.5.4", "Syntax: EHLO or HELO and one host name", "HELO, EHLO")
SYNTAX_MAIL = _row(501, "5.5.4", "Syntax: MAIL FROM:<address>", "MAIL")
SYNTAX_RCPT = _row(501, "5.5.4", "Syntax: RCPT TO:<address>", "RCPT")
SYNTAX_NO_ARGUMENT = _row(501, "5.5.4", "No argument is allowed", "DATA, RSET, QUIT, STARTTLS")
SYNTAX_AUTH = _row(501, "5.5.4", "Syntax: AUTH mechanism and at most one initial response", "AUTH")
SYNTAX_PARAMS = _row(501, "5.5.4", "Malformed or repeated parameter", "MAIL, RCPT parameters")
BAD_BODY = _row(501, "5.5.4", "BODY is 7BIT or 8BITMIME", "MAIL BODY=")
UNKNOWN_PARAM = _row(555, "5.5.4", "Parameter not recognized", "MAIL, RCPT parameters")
BAD_SENDER = _row(553, "5.1.7", "Malformed sender address", "MAIL")
BAD_RECIPIENT = _row(553, "5.1.3", "Malformed recipient address", "RCPT; the null address")
EARLY_TALK = _row(503, "5.5.0", "Improper command pipelining", "input after a command that must be the last in its group")
TOO_SOON = _row(554, "5.5.0", "You spoke before the greeting", "input before the greeting; the connection is closed")
OTHER_PROTOCOL = _row(421, "4.7.0", "This is a mail server", "a command of HTTP; the connection is closed")
NEED_HELO = _row(503, "5.5.1", "Send EHLO first", "MAIL, AUTH before EHLO")
NESTED_MAIL = _row(503, "5.5.1", "Sender already given", "a second MAIL")
NEED_MAIL = _row(503, "5.5.1", "Send MAIL first", "RCPT or DATA before MAIL")
NEED_RCPT = _row(554, "5.5.1", "No valid recipients", "DATA without an accepted recipient")
ALREADY_TLS = _row(503, "5.5.1", "TLS is already active", "STARTTLS inside TLS")
ALREADY_AUTH = _row(503, "5.5.1", "Already authenticated", "a second AUTH")
AUTH_IN_TRANSACTION = _row(503, "5.5.1", "Not during a mail transaction", "AUTH or STARTTLS after MAIL")
AUTH_NEEDS_TLS = _row(538, "5.7.11", "Encryption required for authentication", "AUTH before STARTTLS")
BAD_MECHANISM = _row(504, "5.5.4", "Authentication mechanism not supported", "AUTH with a mechanism that is not offered")
BAD_BASE64 = _row(501, "5.5.2", "Cannot decode response", "AUTH with malformed base64")
AUTH_ABORTED = _row(501, "5.7.0", "Authentication aborted", "AUTH answered with `*`")

# messages that cannot be taken
RELAY_DENIED = _row(550, "5.7.1", "Relaying denied", "RCPT from a client neither in relay_networks nor signed in")
ACCOUNT_LOCKED = _row(
    550, "5.7.1", "Sending is not allowed for this account", "MAIL of an outgoing user that is locked, or was removed"
)
TOO_MANY_RECIPIENTS = _row(452, "4.5.3", "Too many recipients", "RCPT over max_recipients")
TOO_BIG = _row(552, "5.3.4", "Message exceeds the size limit", "MAIL SIZE= or DATA over size_limit_bytes")
HEADER_TOO_BIG = _row(552, "5.3.4", "Message header exceeds the size limit", "DATA with a header over header_limit_bytes")
TEXT_LINE_TOO_LONG = _row(500, "5.5.2", "Message has a line that is too long", "DATA with a line over line_limit_bytes")
BARE_IN_MESSAGE = _row(550, "5.5.2", "Message has a bare CR or LF", "DATA with a CR or LF outside CRLF")
NUL_IN_MESSAGE = _row(
    550, "5.6.0", "Message has a NUL character", "DATA with a NUL (RFC 6152 section 3: 8-bit text has none)"
)
MAIL_LOOP = _row(554, "5.4.6", "Too many hops", "DATA with more than max_received Received fields")

# us, not them
FAILURE = _row(451, "4.3.0", "Temporary failure", "a fault of ours")
FAILURE_CLOSING = _row(421, "4.3.0", "Temporary failure", "a fault of ours after which the session cannot go on")
STORAGE_FULL = _row(452, "4.3.1", "Insufficient system storage", "no room on disk")
NO_MEMORY = _row(452, "4.3.1", "Insufficient system resources", "DATA over data_memory_bytes")
NOT_KNOWN_YET = _row(451, "4.3.0", "Temporary failure", "RCPT before the outgoing users are known")
TOO_LATE = _row(451, "4.3.0", "Processing took too long", "the data hook ran over data_timeout_s")
HUNG_UP = _row(451, "4.4.2", "Connection lost before the message was accepted", "the client left before our reply to DATA")
SHUTTING_DOWN = _row(421, "4.3.2", "Shutting down", "the server stops")
IDLE = _row(421, "4.4.2", "Timeout", "a client silent for idle_timeout_s")
TOO_MANY_CONNECTIONS = _row(421, "4.3.2", "Too many connections", "over max_connections")
TOO_MANY_FROM_CLIENT = _row(421, "4.7.0", "Too many connections from your address", "over max_connections_per_client")
TOO_MANY_ERRORS = _row(421, "4.7.0", "Too many errors", "over max_errors or max_unknown_commands")
TOO_MANY_LOGINS = _row(421, "4.7.0", "Too many failed logins", "over max_auth_failures or auth_failures_per_client")
TLS_UNAVAILABLE = _row(454, "4.7.0", "TLS not available", "STARTTLS without a certificate")
