"""DKIM signing: `signDKIM` of messages and builders, DKIMSign(). In: names, key, options. Out: a signer, or a text.

A signature is made of the message as it leaves, with the edits made before and after the call. Source: the vendor's manual.
"""

from __future__ import annotations

import re
from typing import Any

from hslpy.builtins.core.keys import hash_named, key_by_id, private_key
from hslpy.builtins.host.end_of_data import deliver
from hslpy.builtins.host.headers import header_name
from hslpy.builtins.host.mime import CLASS as BUILDER
from hslpy.builtins.host.mime import part_of
from hslpy.builtins.host.mimepart import held
from hslpy.builtins.host.options import ARRAY, BOOLEAN, NUMBER, TEXT, read_integer, read_options, text_list
from hslpy.builtins.host.state import EditedMessage
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, HslObject, Resource, Value
from hslpy.late import crypto
from hslpy.mail.dkim import Signing, body_digest, signature
from hslpy.mail.dkim_check import LEAST_BITS, MOST_INSTANCE

TOPIC = Topic("DKIM")

MESSAGE = "MailMessage"
MOST_SIGNATURES = 20  # on one message; readers look at some five
_OFFLOAD_BYTES = 1 << 18
_MOST_NAMES = 200
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_IDENTITY = re.compile(r"[!-:<-~]*")
_LATEST = 2**40  # of times in Unix seconds: the year 36812
_ALGORITHMS = {
    "rsa-sha256": "rsa-sha256",
    "rsa-sha1": "rsa-sha1",
    "sha256": "rsa-sha256",  # their names until 2018
    "sha1": "rsa-sha1",
    "ed25519-sha256": "ed25519-sha256",
}
_OPTIONS = {
    "canonicalization_header": TEXT,
    "canonicalization_body": TEXT,
    "algorithm": TEXT,
    "additional_headers": ARRAY,
    "oversign_headers": ARRAY,
    "headers": ARRAY,
    "body_length": NUMBER,
    "timestamp": (*BOOLEAN, *NUMBER),
    "expiration": NUMBER,
    "expiration_relative": NUMBER,
    "identity": TEXT,
    "id": BOOLEAN,
}
_MESSAGE_OPTIONS = {**_OPTIONS, "return_header": BOOLEAN, "arc": (*BOOLEAN, *NUMBER)}
_CLASSIC_OPTIONS = {**_MESSAGE_OPTIONS, "discard_changes": BOOLEAN}


class Signer:
    """Makes the signature's field of a header and a body. Two of them are equal when they sign alike."""

    def __init__(self, signing: Signing, key: Any, now: float, digest: tuple[bytes, int | None] | None = None) -> None:
        self.signing = signing
        self.key = key
        self.now = now
        self.digest = digest  # of the body, where that is known already

    def value(self, header: bytes, body: bytes | None) -> str:
        """Give the field's value; `body` None is the one that `digest` was made of."""
        digest = self.digest if body is None else body_digest(self.signing, body)
        assert digest is not None
        return signature(self.signing, header, digest, self.now, self._sign)

    def __call__(self, header: bytes, body: bytes | None) -> bytes:
        return f"{self.signing.field_name}: {self.value(header, body)}\r\n".encode("latin-1")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Signer) and (other.signing, other.key) == (self.signing, self.key)

    def __hash__(self) -> int:
        return hash(self.signing)

    def _sign(self, digest: bytes) -> bytes:
        if isinstance(self.key, crypto.Ed25519PrivateKey):
            return self.key.sign(digest)
        return bytes(self.key.sign(digest, crypto.PKCS1v15(), crypto.Prehashed(hash_named(self.signing.hash_name))))


def _key_of(call: Run, key: Resource | str, algorithm: str, by_id: bool) -> Any:
    """Give the private key, None when it is none for the algorithm."""
    if isinstance(key, str):
        found = key_by_id(call, key) if by_id or key.startswith("pki:") else private_key(key)
    else:
        found = key.host
    if algorithm == "ed25519-sha256":
        return found if isinstance(found, crypto.Ed25519PrivateKey) else None
    return found if isinstance(found, crypto.RSAPrivateKey) and found.key_size >= LEAST_BITS else None


def _names(function: str, name: str, value: Value) -> tuple[str, ...]:
    found = text_list(f"option `{name}` of {function}()", value)
    if len(found) > _MOST_NAMES:
        raise ScriptError("R302", f"option `{name}` of {function}() takes at most {_MOST_NAMES} names")
    for one in found:
        if ";" in header_name(one):
            raise ScriptError("R302", f"option `{name}` of {function}() cannot sign a field with `;` in its name")
    return found


def _signing(function: str, selector: str, domain: str, given: dict[str, Value], form: str, instance: int | None) -> Signing:
    for what, text in (("selector", selector), ("domain", domain)):
        if _NAME.fullmatch(text) is None:
            raise ScriptError("R302", f"{function}() wants `{what}` as a domain name in ASCII")
    algorithm = _ALGORITHMS.get(given.get("algorithm", "rsa-sha256"))
    if algorithm is None:
        raise ScriptError("R302", f'{function}() wants `algorithm` as "rsa-sha256", "ed25519-sha256" or "rsa-sha1"')
    relaxed = []
    for part in ("header", "body"):
        name = given.get(f"canonicalization_{part}", form)
        if name not in ("relaxed", "simple"):
            raise ScriptError("R302", f'{function}() wants `canonicalization_{part}` as "relaxed" or "simple"')
        relaxed.append(name == "relaxed")
    identity = given.get("identity", "")
    if _IDENTITY.fullmatch(identity) is None or (identity and "@" not in identity):
        raise ScriptError("R302", f"{function}() wants `identity` as an address, or a domain after `@`")
    numbers: dict[str, int] = {
        name: read_integer(function, name, given[name], 0, _LATEST)
        for name in ("body_length", "expiration", "expiration_relative", "timestamp")
        if name in given and given[name].__class__ is not bool
    }
    return Signing(
        selector=selector,
        domain=domain,
        algorithm=algorithm,
        header_relaxed=relaxed[0],
        body_relaxed=relaxed[1],
        names=_names(function, "headers", given["headers"]) if "headers" in given else None,
        additional=_names(function, "additional_headers", given.get("additional_headers", Array({}, 0))),
        oversigned=_names(function, "oversign_headers", given["oversign_headers"])
        if "oversign_headers" in given
        else ("From",),
        body_length=numbers.get("body_length"),
        signed_at=numbers["timestamp"] if "timestamp" in numbers else given.get("timestamp", False),
        expires_at=numbers.get("expiration"),
        lifetime_s=numbers.get("expiration_relative"),
        identity=identity if instance is None else "",
        instance=instance,
    )


def _signer(
    call: Run,
    function: str,
    selector: str,
    domain: str,
    key: Resource | str,
    given: dict[str, Value],
    form: str = "relaxed",
    instance: int | None = None,
) -> Signer | None:
    signing = _signing(function, selector, domain, given, form, instance)
    found = _key_of(call, key, signing.algorithm, given.get("id", False))
    call.charge(500)
    if found is None:
        text = f"{function}() signed nothing for {domain[:60]}: the key is no private key for {signing.algorithm}"
        call.host.warn("hooks.script_warning", text=text)
        return None
    return Signer(signing, found, call.clock.time())


def _instance(function: str, message: EditedMessage, arc: Value) -> int | None:
    """Give the number of the ARC set that a signature is for; with true, of the next one."""
    if arc is False:
        return None
    if arc is True:
        arc = 1.0 + sum(field.name.lower() == "arc-seal" for field in message.edits().fields)
    return read_integer(function, "arc", arc, 1, MOST_INSTANCE)


def sign_message(
    call: Run,
    function: str,
    message: EditedMessage,
    selector: str,
    domain: str,
    key: Resource | str,
    given: dict[str, Value],
    form: str = "relaxed",
) -> str | bool:
    """Have the message signed when it leaves; give the field's value instead with "return_header", false for a bad key.

    `form` is the canonicalization of what no option says.
    """
    instance = _instance(function, message, given.get("arc", False))
    signer = _signer(call, function, selector, domain, key, given, form, instance)
    if signer is None:
        return False
    if given.get("discard_changes"):
        message.discard()
    content = message.message.content
    call.charge(len(content) >> 8)
    if len(content) > _OFFLOAD_BYTES:
        call.reserve(2 * len(content))
        signer.digest = call.offload(lambda: body_digest(signer.signing, message.message.body))
    else:
        signer.digest = body_digest(signer.signing, message.message.body)
    if given.get("return_header"):
        return signer.value(*message.unsigned())
    if signer not in message.signers:  # a classic script runs once a recipient, and asks each time
        if len(message.signers) >= MOST_SIGNATURES:
            raise ScriptError("R310", f"a message takes at most {MOST_SIGNATURES} signatures", hint="is a loop without end?")
        message.signers = (*message.signers, signer)
    return True


def signer_from(call: Run, function: str, value: Array) -> Signer:
    """Give the signer that ["selector", "domain", "key", and options of signDKIM] asks for. Raises ScriptError."""
    names = {"selector": TEXT, "domain": TEXT, "key": ("string", "resource")}
    given = read_options(f"`dkim` of {function}()", value, {**names, **_OPTIONS}, ("return_header", "arc"))
    for name in names:
        if name not in given:
            raise ScriptError("R302", f"{function}() wants `{name}` in `dkim`")
    signer = _signer(call, function, given["selector"], given["domain"], given["key"], given)
    if signer is None:
        raise ScriptError("R302", f"{function}() wants a private key for the algorithm in `dkim`")
    return signer


@TOPIC.builtin(
    "signDKIM(selector: string, domain: string, key: RSAPrivateKey | ED25519PrivateKey | string, [options: array])"
    " -> object | string | none",
    effect=Effect.IO,
    kind="method",
    owner=MESSAGE,
    examples=['MailMessage::String("From: a@example.com")->signDKIM("s1", "example.com", $pem)'],
)
def sign_dkim(
    call: Run, this: HslObject, selector: str, domain: str, key: Resource | str, options: Array | None = None
) -> HslObject | str | None:
    """Sign the message with DKIM when it leaves, as it is then; none, and a warning in the log, for a key that is no good.

    `key` is PEM, a resource, or `pki:` and the id of a [[pki]] table of the settings.

    | option | what it does | default |
    |---|---|---|
    | `algorithm` | "rsa-sha256", "ed25519-sha256" or "rsa-sha1", which receivers no longer take | "rsa-sha256" |
    | `canonicalization_header`, `canonicalization_body` | "relaxed" or "simple" | "relaxed" |
    | `headers` | the fields to sign, beside From | those RFC 6376 recommends |
    | `additional_headers` | fields to sign beside them | [] |
    | `oversign_headers` | fields that cannot be added later | ["From"] |
    | `timestamp` | true, or a time in Unix seconds: when it was signed | false |
    | `expiration`, `expiration_relative` | until when it holds: Unix seconds, or seconds from the signing | |
    | `identity` | for whom it was signed, as in "@mail.example.com" | |
    | `body_length` | sign so many bytes of the body only | |
    | `return_header` | give the field's value for the message as it stands, to be added with "encode" => false | false |
    | `arc` | make an ARC-Message-Signature: of that instance, with true of the next | false |
    | `id` | the key is the id of a [[pki]] table of the settings; so is one that begins with "pki:" | false |
    """
    given = read_options("signDKIM", options, _MESSAGE_OPTIONS)
    done = sign_message(call, "signDKIM", held(this).message, selector, domain, key, given)
    return done if isinstance(done, str) else this if done else None


@TOPIC.builtin(
    "signDKIM(selector: string, domain: string, key: RSAPrivateKey | ED25519PrivateKey | string, [options: array])"
    " -> MIME | none",
    effect=Effect.READS,
    kind="method",
    owner=BUILDER,
    examples=['MIME()->addHeader("From", "a@example.com")->signDKIM("s1", "example.com", $pem)'],
)
def sign_built(
    call: Run, this: HslObject, selector: str, domain: str, key: Resource | str, options: Array | None = None
) -> HslObject | None:
    """Sign what is built with DKIM when it is rendered, as it is then; none, and a warning in the log, for a bad key.

    The options are those of MailMessage->signDKIM(), but for `return_header` and `arc`.
    """
    given = read_options("signDKIM", options, _OPTIONS, ("return_header", "arc"))
    signer = _signer(call, "signDKIM", selector, domain, key, given)
    if signer is None:
        return None
    signers = part_of(this).signers
    if len(signers) >= MOST_SIGNATURES:
        raise ScriptError("R310", f"a message takes at most {MOST_SIGNATURES} signatures", hint="is a loop without end?")
    signers.append(signer)
    return this


@TOPIC.builtin(
    "DKIMSign(selector: string, domain: string, key: RSAPrivateKey | ED25519PrivateKey | string, [options: array])"
    " -> boolean | string",
    effect=Effect.IO,
    hooks=("data",),
    examples=['DKIMSign("s1", "example.com", $pem);'],
)
def dkim_sign(call: Run, selector: str, domain: str, key: Resource | str, options: Array | None = None) -> bool | str:
    """Sign the message as MailMessage->signDKIM() does. Gives whether it can; with `return_header` the field's value.

    Option `discard_changes` takes back the edits of the message made before.
    """
    given = read_options("DKIMSign", options, _CLASSIC_OPTIONS)
    return sign_message(call, "DKIMSign", call.host.state, selector, domain, key, given)


@TOPIC.builtin(
    "DeliverWithDKIM(selector: string, domain: string, key: RSAPrivateKey | ED25519PrivateKey | string, [options: array])"
    " -> none",
    effect=Effect.IO,
    hooks=("data",),
    examples=['DeliverWithDKIM("s1", "example.com", $pem);'],
    deprecated="2016",
)
def deliver_with_dkim(call: Run, selector: str, domain: str, key: Resource | str, options: Array | None = None) -> None:
    """Sign the message, deliver it and end the script. Now DKIMSign() and Deliver().

    The options are those of DKIMSign(); the canonicalization is "simple" unless they say otherwise. A message that cannot
    be signed is delivered without a signature.
    """
    given = read_options("DeliverWithDKIM", options, {**_OPTIONS, "discard_changes": BOOLEAN})
    sign_message(call, "DeliverWithDKIM", call.host.state, selector, domain, key, given, form="simple")
    deliver(call)
