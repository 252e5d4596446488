"""LDAP: the classes LDAP and LDAPResult, and `ldap_search` and `ldap_bind` of older scripts. In: texts. Out: entries.

An LDAP object's `host` is a `client.ldap.Ldap`. An entry is an array: `dn`, and an array of values for each attribute.
Source: the HSL manual, 2019, and the vendor's plugin of the class.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from hslpy.builtins.core.arguments import as_text, read_options, to_utf8, unknown_word, whole
from hslpy.builtins.core.certificates import certificate_object
from hslpy.builtins.host.options import BOOLEAN, NUMBER, TEXT, text_list
from hslpy.builtins.host.options import read_options as read_given
from hslpy.builtins.host.sockets import new_socket, new_tls, pause_of
from hslpy.client.ldap import SCOPES, Entry, Ldap, LdapError, LdapProfile, Server, read_servers
from hslpy.client.ldap_text import (
    INAPPROPRIATE_AUTH,
    INVALID_CREDENTIALS,
    INVALID_DN,
    NOT_SUPPORTED,
    PARAM_ERROR,
    error_text,
    escape_filter,
    join_dn,
    split_dn,
)
from hslpy.client.sockets import Socket, TlsSocket, TlsWishes, family_of
from hslpy.dns.hosts import addresses_of
from hslpy.errors import MailError, ScriptError
from hslpy.lang.conversions import key_of_text, to_string
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.diagnostics import suggest
from hslpy.lang.growth import ELEMENT_BYTES
from hslpy.lang.run import Run, describe
from hslpy.lang.values import Array, HslObject, Value, type_name
from hslpy.records import dataclass

TOPIC = Topic("ldap")

CLASS, RESULT = "LDAP", "LDAPResult"
_EVERYTHING = "(objectclass=*)"
_OPTIONS = {
    "protocol_version": NUMBER,
    "referrals": BOOLEAN,
    "network_timeout": NUMBER,
    "timeout": NUMBER,
    "timelimit": NUMBER,
    "tls_verify_peer": BOOLEAN,
    "tls_default_ca": BOOLEAN,
}
_READABLE = ("diagnostic_message",)
_REFUSED = (INVALID_DN, INAPPROPRIATE_AUTH, INVALID_CREDENTIALS)
_IN_QUERY = re.compile(r"%[sx]")
_ARGUMENT = re.compile(r"\$([0-9]+)")


@dataclass(slots=True)
class _Search:
    """A result that is being read."""

    ldap: Ldap
    number: int
    ended: bool = False

    @property
    def held_bytes(self) -> int:
        return self.ldap.held_bytes


def new_ldap(call: Run, uris: str) -> Ldap:
    """Give a session with the servers. Raises ValueError where the addresses are none."""
    timeout_s: float = call.host.services.sockets.timeout_s
    ldap: Ldap

    def connect(server: Server) -> Socket:
        why = OSError("no address")
        for family, address in _addresses(call, server, timeout_s):
            found = new_socket(call, "LDAP", family, "SOCK_STREAM")
            found.timeout_s = ldap.options.network_timeout or timeout_s
            try:
                found.connect(address, server.port, pause_of(call, found))
                return found
            except OSError as error:
                found.close()
                why = error
        raise why

    def secure(found: Socket, host: str) -> TlsSocket:
        options = ldap.options
        wishes = TlsWishes(
            names=(host,) if options.tls_verify_peer else (),
            verify_ca=options.tls_verify_peer,
            default_ca=options.tls_default_ca,
            sni=host if family_of(host) is None else "",
        )
        return new_tls(call, "LDAP", found, wishes)

    ldap = Ldap(
        read_servers(uris), connect, secure, lambda found: pause_of(call, found), call.reserve, call.offload, timeout_s
    )
    return ldap


def _addresses(call: Run, server: Server, timeout_s: float) -> list[tuple[str, str]]:
    """Give families and addresses of a server, with those of a name as the resolver has them."""
    if server.scheme == "ldapi":
        return [("AF_UNIX", server.host)]
    family = family_of(server.host)
    if family is not None:
        return [(family, server.host)]

    async def ask() -> tuple[str, ...]:
        async with asyncio.timeout(timeout_s or None):
            return await addresses_of(call.host.services.resolver, server.host)

    try:
        found: tuple[str, ...] = call.wait(ask())
    except (MailError, TimeoutError):
        return []
    return [(family_of(address) or "AF_INET", address) for address in found]


def _ldap(this: HslObject) -> Ldap:
    ldap: Any = this.host
    assert isinstance(ldap, Ldap)
    return ldap


def _do(this: HslObject, action: Callable[[Ldap], object]) -> HslObject | None:
    """Give the object itself once the action is done, none on an error, whose number is kept."""
    ldap = _ldap(this)
    try:
        action(ldap)
    except LdapError as error:
        _note(ldap, error)
        return None
    return this


def _note(ldap: Ldap, error: LdapError) -> None:
    ldap.errno, ldap.diagnostic = error.number, to_utf8(error.text)


def _entry(call: Run, entry: Entry) -> Array:
    size = sum(ELEMENT_BYTES * (1 + len(values)) + sum(map(len, values)) for _, values in entry.attributes)
    call.reserve(size)
    call.charge(1 + (size >> 8))
    found = Array.mapping({"dn": to_utf8(entry.dn)})
    for name, values in entry.attributes:
        found.set(key_of_text(to_utf8(name)), Array.of([as_text(value) for value in values]))
    return found


# ---- the class LDAP ---------------------------------------------------------------------------------


@TOPIC.builtin(
    "LDAP(uri: string) -> LDAP",
    effect=Effect.IO,
    kind="class",
    examples=['$ldap = LDAP("ldap://ldap.example.com");', '$ldap = LDAP("ldaps://a.example.com ldaps://b.example.com");'],
)
def ldap_class(call: Run, uri: str) -> HslObject:
    """Make a session with the first of the servers that answers, connected when it is first used.

    Addresses are `ldap://host[:port]`, `ldaps://` (TLS from the start) or `ldapi://` and a path with `%2F` for each slash.
    Methods that fail give none, and `errno()` then says why, by OpenLDAP's numbers.
    """
    try:
        return HslObject(CLASS, None, new_ldap(call, uri))
    except ValueError:
        ldap = Ldap((), _nowhere, _nowhere, _nowhere, call.reserve, call.offload, 0.0)
        ldap.closed = True
        ldap.errno = PARAM_ERROR
        return HslObject(CLASS, None, ldap)


def _nowhere(*arguments: object) -> Any:
    raise LdapError(PARAM_ERROR)


@TOPIC.builtin(
    "setoption(name: string, value: any) -> LDAP | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['$ldap->setoption("network_timeout", 5);'],
)
def setoption(this: HslObject, name: str, value: Value) -> HslObject | None:
    """Set an option of the session; none where the value is none for it.

    | option | meaning | default |
    |---|---|---|
    | `protocol_version` | 3 | 3 |
    | `referrals` | false: references to other servers are passed over | false |
    | `network_timeout` | time to connect, in seconds; 0: `sockets.timeout_s` of the settings | 0 |
    | `timeout` | time for an answer, in seconds; 0: `sockets.timeout_s` of the settings | 0 |
    | `timelimit` | time that the server may search, in seconds; 0: as long as it likes | 0 |
    | `tls_verify_peer` | whether the server's certificate must be of a known authority and bear its name | true |
    | `tls_default_ca` | the system's authorities too, beside those of `client.ca_file` | false |
    """
    types = _OPTIONS.get(name)
    if types is None:
        hint = suggest(name, _OPTIONS) or f"it takes {', '.join(_OPTIONS)}"
        raise ScriptError("R301", f"LDAP has no option `{name[:40]}`", hint=hint)

    def change(ldap: Ldap) -> None:
        if ldap.closed or type_name(value) not in types:
            raise LdapError(PARAM_ERROR)
        if name in ("protocol_version", "referrals"):
            if value != (3.0 if name == "protocol_version" else False):
                raise LdapError(NOT_SUPPORTED)
        elif types == NUMBER and not 0 <= value <= 1 << 31:
            raise LdapError(PARAM_ERROR)
        else:
            setattr(ldap.options, name, value)

    return _do(this, change)


@TOPIC.builtin(
    "getoption(name: string) -> any",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['echo $ldap->getoption("diagnostic_message");'],
)
def getoption(this: HslObject, name: str) -> Value:
    """Give an option: "diagnostic_message", what the server said of the latest error."""
    if name not in _READABLE:
        hint = suggest(name, _READABLE) or f"it gives {', '.join(_READABLE)}"
        raise ScriptError("R301", f"LDAP cannot give an option `{name[:40]}`", hint=hint)
    return None if _ldap(this).closed else _ldap(this).diagnostic


@TOPIC.builtin(
    "starttls() -> LDAP | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=["if (!$ldap->starttls()) echo LDAP::err2string($ldap->errno());"],
)
def starttls(this: HslObject) -> HslObject | None:
    """Begin TLS on an `ldap://` connection."""
    return _do(this, lambda ldap: ldap.starttls())


@TOPIC.builtin(
    "bind([dn: string, [cred: string]]) -> LDAP | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['$ldap->bind("uid=ann,dc=example,dc=com", "password");', "$ldap->bind();"],
)
def bind(this: HslObject, dn: str = "", cred: str = "") -> HslObject | None:
    """Sign in with a distinguished name and a password; without them as nobody."""
    return _do(this, lambda ldap: ldap.bind(dn, cred))


@TOPIC.builtin(
    "search(basedn: string, [options: array]) -> LDAPResult | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['$result = $ldap->search("dc=example,dc=com", ["filter" => "(uid=ann)", "attributes" => ["mail"]]);'],
)
def search(this: HslObject, basedn: str, options: Array | None = None) -> HslObject | None:
    """Search below an entry, and give the result, which `next()` reads.

    | option | meaning | default |
    |---|---|---|
    | `scope` | "sub": the entry and all below; "one": those right below; "base": the entry itself | "sub" |
    | `filter` | which entries, as in `(&(uid=ann)(mail=*))` | (objectclass=*) |
    | `attributes` | array of the attributes to give | all |
    """
    given = read_options("search", options, {"scope": "sub", "filter": _EVERYTHING, "attributes": None})
    if given["scope"] not in SCOPES:
        raise unknown_word("search", "`scope`", given["scope"], SCOPES)
    names = text_list("option `attributes` of search()", given["attributes"]) if given["attributes"] is not None else ()
    found: list[int] = []
    condition = given["filter"] or _EVERYTHING
    if _do(this, lambda ldap: found.append(ldap.search(basedn, given["scope"], condition, names))) is None:
        return None
    return HslObject(RESULT, None, _Search(_ldap(this), found[0]))


@TOPIC.builtin("unbind() -> LDAP | none", effect=Effect.IO, kind="method", owner=CLASS, examples=["$ldap->unbind();"])
def unbind(this: HslObject) -> HslObject | None:
    """End the session; what is asked afterwards gives none."""
    return _do(this, lambda ldap: ldap.unbind())


@TOPIC.builtin(
    "errno() -> number", effect=Effect.IO, kind="method", owner=CLASS, examples=["echo LDAP::err2string($ldap->errno());"]
)
def errno(this: HslObject) -> float:
    """Give the number of the latest error, as OpenLDAP has them: the server's above 0, as 49, the client's below, as -1."""
    return float(_ldap(this).errno)


@TOPIC.builtin(
    "getpeerx509() -> X509 | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=["$subject = $ldap->getpeerx509()->subject();"],
)
def getpeerx509(this: HslObject) -> HslObject | None:
    """Give the server's certificate; none without TLS."""
    tls = _ldap(this).tls
    certificate = None
    if tls is not None:
        with contextlib.suppress(ValueError):  # one that cannot be read
            certificate = tls.certificate()
    return None if certificate is None else certificate_object(certificate)


@TOPIC.builtin(
    "err2string(errno: number) -> string",
    effect=Effect.PURE,
    kind="static method",
    owner=CLASS,
    examples=['LDAP::err2string(49)  // "Invalid credentials"'],
)
def err2string(errno: float) -> str:
    """Give the meaning of an error's number, in OpenLDAP's words."""
    return error_text(whole(errno, "err2string() wants `errno`"))


@TOPIC.builtin(
    "filter_escape(value: string) -> string",
    effect=Effect.PURE,
    kind="static method",
    owner=CLASS,
    examples=['LDAP::filter_escape("a*(b)")  // "a\\\\2A\\\\28b\\\\29"'],
)
def filter_escape(call: Run, value: str) -> str:
    """Give a text as it stands for itself in a filter. Anything that comes from outside must go through it."""
    call.reserve_text(3 * len(value))
    call.charge(len(value) >> 4)
    return escape_filter(value)


@TOPIC.builtin(
    "str2dn(str: string) -> array | none",
    effect=Effect.PURE,
    kind="static method",
    owner=CLASS,
    examples=['LDAP::str2dn("cn=admin,dc=example")  // [["cn", "admin"], ["dc", "example"]]'],
)
def str2dn(call: Run, str: str) -> Array | None:
    """Give the parts of a distinguished name, each an array of attribute and value; none where it is none.

    Of a part with several attributes (`a=1+b=2`) the first is given.
    """
    call.reserve(60 * len(str))
    call.charge(len(str) >> 1)
    parts = split_dn(str)
    return None if parts is None else Array.of([Array.of(part) for part in parts])


@TOPIC.builtin(
    "dn2str(dn: array) -> string | none",
    effect=Effect.PURE,
    kind="static method",
    owner=CLASS,
    examples=['LDAP::dn2str([["cn", "Doe, Ann"], ["dc", "example"]])  // "cn=Doe\\\\2C Ann,dc=example"'],
)
def dn2str(call: Run, dn: Array) -> str | None:
    """Give a distinguished name of its parts, values escaped; none where a part is no pair of texts."""
    parts: list[tuple[str, str]] = []
    for part in dn.values():
        pair = tuple(part.values()) if part.__class__ is Array else ()
        if len(pair) != 2 or pair[0].__class__ is not str or pair[1].__class__ is not str:
            return None
        parts.append(pair)
        call.charge(1 + (len(pair[1]) >> 4))
        call.reserve(3 * len(pair[1]))
    return join_dn(parts)


@TOPIC.builtin(
    "next() -> array | boolean | none",
    effect=Effect.IO,
    kind="method",
    owner=RESULT,
    examples=["while ($entry = $result->next()) echo $entry;"],
)
def next_entry(call: Run, this: HslObject) -> Value:
    """Give the next entry: its `dn`, and an array of values under each attribute's name. false at the end, none on an error.

    The session's `errno()` then says why.
    """
    found: Any = this.host
    assert isinstance(found, _Search)
    if found.ended:
        return False
    try:
        entry = found.ldap.entry(found.number)
    except LdapError as error:
        _note(found.ldap, error)
        return None
    if entry is None:
        found.ended = True
        return False
    return _entry(call, entry)


# ---- functions of older scripts ---------------------------------------------------------------------


def _profile(
    call: Run, function: str, name: str, override: Array | None, known: Mapping[str, tuple[str, ...]]
) -> LdapProfile:
    profiles: dict[str, LdapProfile] = call.host.services.ldap_profiles
    profile = profiles.get(name) or profiles.get(name.removeprefix("ldap:"))
    if profile is None:
        others = f"there are {', '.join(profiles)}" if profiles else "add an [[ldap]] table for it"
        raise ScriptError("R302", f'{function}() knows no profile "{name[:40]}"', hint=suggest(name, profiles) or others)
    given: dict[str, Any] = read_given(function, override, known)
    return replace(profile, **given)


_BIND_OVERRIDES = {"host": TEXT, "tls_default_ca": BOOLEAN, "tls_verify_peer": BOOLEAN}
_SEARCH_OVERRIDES = {"username": TEXT, "password": TEXT, "base": TEXT, "query": TEXT, **_BIND_OVERRIDES}


def _session(call: Run, profile: LdapProfile) -> Ldap:
    """Give a session for a profile. Raises LdapError."""
    host = profile.host if "://" in profile.host else f"ldap://{profile.host}"
    try:
        ldap = new_ldap(call, host)
    except ValueError:
        raise LdapError(PARAM_ERROR) from None
    ldap.options.tls_default_ca = profile.tls_default_ca
    ldap.options.tls_verify_peer = profile.tls_verify_peer
    return ldap


def _filled(call: Run, query: str, lookup: Value) -> str:
    """Give a query with what is looked up in its places, each replaced once."""
    if lookup.__class__ is Array:
        texts = [to_string(call, value) for value in lookup.values()]

        def argument(found: re.Match[str]) -> str:
            number = int(found[1][:9])
            return escape_filter(texts[number - 1]) if 1 <= number <= len(texts) else found[0]

        return _ARGUMENT.sub(argument, query)
    text = to_string(call, lookup)
    return _IN_QUERY.sub(lambda found: escape_filter(text) if found[0] == "%s" else text, query)


@TOPIC.builtin(
    "ldap_search(profile: string, lookup: any, [override: array]) -> array | number",
    effect=Effect.IO,
    examples=['$entries = ldap_search("ldap:1", "ann@example.com");'],
    deprecated="LDAP",
)
def ldap_search(call: Run, profile: str, lookup: Value, override: Array | None = None) -> Array | float:
    """Give the entries that a profile's query finds, in an array, each as `LDAPResult->next()` gives it; -1 on an error.

    A profile is an [[ldap]] table of the settings. In its query `%s` stands for `lookup`, escaped, and `%x` for it as it is,
    which is dangerous; where `lookup` is an array, `$1`, `$2` and so on for its values, escaped. `override` may have the
    settings `host`, `username`, `password`, `base`, `query`, `tls_default_ca` and `tls_verify_peer` for this call.
    """
    chosen = _profile(call, "ldap_search", profile, override, _SEARCH_OVERRIDES)
    if lookup is None:
        raise ScriptError("R101", f"ldap_search() wants a text or an array as `lookup`, got {describe(lookup)}")
    query = _filled(call, chosen.query, lookup)
    entries: list[Array] = []
    try:
        ldap = _session(call, chosen)
        try:
            if chosen.username:
                ldap.bind(chosen.username, chosen.password)
            number = ldap.search(chosen.base, "sub", query or _EVERYTHING, ())
            while (entry := ldap.entry(number)) is not None:
                entries.append(_entry(call, entry))
        finally:
            with contextlib.suppress(LdapError):
                ldap.unbind()
    except LdapError as error:
        _log(call, "ldap_search", profile, error)
        return -1.0
    return Array.of(entries)


@TOPIC.builtin(
    "ldap_bind(profile: string, username: string, password: string, [override: array]) -> number",
    effect=Effect.IO,
    examples=['if (ldap_bind("ldap:1", "uid=ann,dc=example,dc=com", "password") == 1) echo "welcome";'],
    deprecated="LDAP",
)
def ldap_bind(call: Run, profile: str, username: str, password: str, override: Array | None = None) -> float:
    """Sign in to a profile's server as a user: 1 when that works, 0 when it is refused, -1 on an error.

    An empty password is refused without asking, for servers take it as nobody's. `override` may have the settings `host`,
    `tls_default_ca` and `tls_verify_peer` for this call.
    """
    chosen = _profile(call, "ldap_bind", profile, override, _BIND_OVERRIDES)
    if not username or not password:
        return 0.0
    try:
        ldap = _session(call, chosen)
        try:
            ldap.bind(username, password)
        finally:
            with contextlib.suppress(LdapError):
                ldap.unbind()
    except LdapError as error:
        if error.number in _REFUSED:
            return 0.0
        _log(call, "ldap_bind", profile, error)
        return -1.0
    return 1.0


def _log(call: Run, function: str, profile: str, error: LdapError) -> None:
    why = error_text(error.number) + (f" ({error.text})" if error.text else "")
    call.host.warn("hooks.script_warning", text=f"{function}() with profile {profile[:40]}: {why}")
