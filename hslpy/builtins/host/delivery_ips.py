"""Outgoing users and delivery IPs, as the database has them. In: names, the message at hand. Out: arrays.

The rules are `egress`'s. Source: the project's own; section C of the specification of delivery IPs.
"""

from __future__ import annotations

from hslpy.builtins.host.options import NUMBER, TEXT, read_options
from hslpy.egress.rules.book import PRIMARY, Family, Sender
from hslpy.egress.traffic import origin
from hslpy.egress.traffic.departures import Departures
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Value
from hslpy.mail.address import ascii_domain, ascii_lower
from hslpy.users.contract import PoolFull

TOPIC = Topic("delivery IPs")

_OPTIONS = {"domain": TEXT, "username": TEXT, "identity": TEXT, "family": NUMBER}


@TOPIC.builtin(
    "outgoing_user(username: string, [password: string]) -> array | none",
    effect=Effect.IO,
    since="0.1",
    examples=[
        'try { $user = outgoing_user("bob@example.com", "secret"); } catch ($error) { echo $error->message(); }',
    ],
)
def outgoing_user(call: Run, username: str, password: str | None = None) -> Array | None:
    """Give the outgoing user who signs in as `username` (`user@domain`, or a domain for its own user), none for nobody.

    An array with `domain`, `username`, `locked`, the `reason` of that, and where a password was given `authenticated`:
    whether it is the user's. Raises ScriptError R341 while that cannot be found out, which makes AUTH fail for now.
    """
    services = call.host.services
    departures, logins = services.departures, services.logins
    if departures is None or logins is None:
        raise ScriptError("R341", "there is no database of outgoing users here")
    if departures.picture is None:
        raise ScriptError("R341", "the outgoing users are not known yet")
    name = _text(username)
    account = departures.picture.account(name)
    right = False
    if password is not None:
        try:
            right = call.wait(logins.fits(account, name, password.encode("latin-1"), _client(call)))
        except PoolFull:
            raise ScriptError("R341", "too many passwords are being compared") from None
    if account is None:
        return None
    found: dict[str, Value] = {
        "domain": account.domain,
        "username": _bytes(account.username),
        "locked": bool(account.locked),
        "reason": _bytes(account.locked),
    }
    return Array.mapping(found if password is None else {**found, "authenticated": right})


@TOPIC.builtin(
    "delivery_ips([options: array]) -> array",
    effect=Effect.READS,
    since="0.1",
    examples=[
        "$sources = delivery_ips();",
        'echo delivery_ips(["domain" => "example.com", "username" => "bob", "family" => 4])[0]["address"] ?? "any";',
    ],
)
def delivery_ips(call: Run, options: Array | None = None) -> Array:
    """Give the addresses that may be used for this message by the settings of delivery IPs, the one that would be first.

    Each is an array with `address`, `helo`, `family`, `level`, `scope` and `chosen`; `Try` takes it all as `sourceip`. It is
    empty where the system chooses, where nothing may be sent, and where there is no database. Options: `domain`, `username`
    and `identity` of another sender, `family` (4 or 6; both).
    """
    given = read_options("delivery_ips", options, _OPTIONS)
    departures = call.host.services.departures
    wanted = given.get("family")
    if wanted is not None and wanted not in PRIMARY:
        raise ScriptError("R302", "delivery_ips() wants `family` as 4 or 6")
    if departures is None or departures.picture is None:
        return Array.of([])
    sender, key, kept, avoid = _message(call, departures)
    if given.keys() & {"domain", "username", "identity"}:
        names = {name: _text(str(given.get(name, ""))) for name in ("domain", "username", "identity")}
        sender = origin.named(departures.picture, **names)
    families: list[Family] = [family for family in PRIMARY if wanted is None or family == wanted]
    found = [one for family in families for one in departures.candidates(sender, family, key, kept=kept, avoid=avoid)]
    return Array.of(
        [
            Array.mapping(
                {
                    "address": one.address,
                    "helo": one.helo,
                    "family": float(one.family),
                    "level": one.scope.level,
                    "scope": _bytes(str(one.scope)),
                    "chosen": one.chosen,
                }
            )
            for one in found
        ]
    )


def _message(call: Run, departures: Departures) -> tuple[Sender, bytes, tuple[str, ...], frozenset[str]]:
    """Give whose message is at hand, its key, and the addresses that it was tried from and that were refused it."""
    event, picture = call.host.event, departures.picture
    message = getattr(event, "message", None)
    if message is not None:
        fields = message.egress
        metadata = getattr(call.host.state, "metadata", None) or message.metadata
        sender = origin.sender_of(fields, metadata.get("identity", ""))
        return sender, message.transaction_id.encode(), origin.kept_of(fields), origin.avoided_of(fields)
    connection, transaction = getattr(event, "connection", None), getattr(event, "transaction", None)
    if connection is None or picture is None:
        return Sender(), b"", (), frozenset()
    login = _text(connection.auth.username or "") if connection.auth is not None else ""
    domain = ascii_lower(ascii_domain(transaction.sender.domain)) if transaction is not None else ""
    sender = origin.sender_at(picture, login, connection.remote_ip, domain, is_null=not domain)
    identity = (getattr(call.host.state, "metadata", None) or {}).get("identity", "")
    if sender.domain and identity:
        sender = Sender(sender.domain, sender.username, origin.identity_of(_text(identity)))
    return sender, transaction.id.encode() if transaction is not None else b"", (), frozenset()


def _client(call: Run) -> str:
    connection = getattr(call.host.event, "connection", None)
    return connection.remote_ip if connection is not None else ""


def _text(text: str) -> str:
    """Give what bytes in a script's text spell."""
    return text.encode("latin-1").decode("utf-8", "replace")


def _bytes(text: str) -> str:
    """Give a text as scripts have it, a character a byte."""
    return text.encode().decode("latin-1")
