"""Ciphers, keys, certificates and S/MIME: known answers, what doesn't fit, and what others made (OpenSSL's command)."""

from __future__ import annotations

import hashlib
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from hslpy.errors import ScriptError
from hslpy.lang.run import BoundBuiltin
from hslpy.lang.values import Resource
from tests.builtins.core.support import ROWS, call, fresh_run, value_of
from tests.support.certificates import CA, CERTIFICATE, KEY, REVOCATIONS, RSA_CERTIFICATE, RSA_KEY


def raw(name: str, *args: Any) -> Any:
    """Call a builtin and give the HSL value itself."""
    return BoundBuiltin(ROWS[name], fresh_run()).call(*[value_of(arg) for arg in args])


def method(name: str, this: Any, *args: Any) -> Any:
    row = ROWS[name]
    values = [value_of(arg) for arg in args]
    return row.function(fresh_run(), this, *values) if row.takes_call else row.function(this, *values)


# FIPS 197 and SP 800-38A, the first block of each
KEY_128, PLAIN = bytes(range(16)).decode("latin-1"), bytes.fromhex("00112233445566778899aabbccddeeff").decode("latin-1")
NO_PADDING = {"padding": False}


def test_aes_known_answers() -> None:
    encrypted = call("aes_encrypt", PLAIN, KEY_128, "ecb", NO_PADDING)
    assert encrypted.encode("latin-1").hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"
    assert call("aes_decrypt", encrypted, KEY_128, "ecb", NO_PADDING) == PLAIN
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c").decode("latin-1")
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a").decode("latin-1")
    encrypted = call("aes_encrypt", plain, key, "cbc", {"iv": KEY_128, **NO_PADDING})
    assert encrypted.encode("latin-1").hex() == "7649abac8119b246cee98e9b12e9197d"


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 600_001])
@pytest.mark.parametrize("mode", ["ecb", "cbc"])
def test_aes_there_and_back(size: int, mode: str) -> None:
    message = "\xff" * size
    options = {"iv": "\1" * 16} if mode == "cbc" else {}
    encrypted = call("aes_encrypt", message, "k" * 32, mode, options)
    assert len(encrypted) == size // 16 * 16 + 16
    assert call("aes_decrypt", encrypted, "k" * 32, mode, options) == message


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("aes_encrypt", ["x", "short", "ecb"]),
        ("aes_encrypt", ["x", "k" * 16, "cbc"]),
        ("aes_encrypt", ["x", "k" * 16, "cbc", {"iv": "short"}]),
        ("aes_encrypt", ["x", "k" * 16, "ecb", NO_PADDING]),
        ("aes_decrypt", ["x", "k" * 16, "ecb"]),
        ("aes_decrypt", ["", "k" * 16, "ecb"]),
        ("aes_decrypt", ["x" * 16, "k" * 16, "ecb"]),
    ],
)
def test_aes_gives_none(name: str, args: list[Any]) -> None:
    assert call(name, *args) is None


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("aes_encrypt", ["x", "k" * 16, "gcm"], 'wants "ecb" or "cbc" as `mode`, got "gcm"'),
        ("aes_encrypt", ["x", "k" * 16, "ecb", {"pading": True}], "unknown option `pading` of aes_encrypt()"),
        ("crypt", ["x", "$6$rounds=999999999$salt"], "at most 2000000 rounds"),
        ("crypt", ["x", "$2b$31$" + "a" * 22], "a bcrypt cost of 14"),
        ("rsa_sign", ["x", "key", {"hash": "sha3"}], "wants `hash` as md5, sha1, sha256, sha512"),
        ("rsa_sign", ["x", "pki:1", {"id": True}], 'there is no key "pki:1"'),
        ("rsa_verify", ["x", "s", "key", {"format": "PrivateKeyInfo"}], "RSAPublicKey or SubjectPublicKeyInfo"),
        ("rsa_sign", ["x", Resource("ECPrivateKey", None)], "wants RSAPrivateKey or string as `privatekey`"),
        ("cms_sign", ["x", "pki:1", {"id": True}], 'there is no key "pki:1"'),
        ("cms_sign", ["x", {"x509": CERTIFICATE}], 'wants "x509" and "privatekey"'),
        ("cms_verify", ["x", "y", {}], 'wants "store" or "certs"'),
        ("cms_verify", ["x", "y", {"store": ["nonsense"]}], "wants certificates in `store`"),
        ("cms_encrypt", ["x", {"certs": [CERTIFICATE]}, {"cipher": "des"}], "wants `cipher` as aes128 or aes256"),
        ("cms_sign", ["x", CERTIFICATE + KEY, {"digest": "md5"}], "wants `digest` as sha256"),
        ("cms_decrypt", ["x"], "wants a certificate with its key"),
    ],
)
def test_mistakes(name: str, args: list[Any], message: str) -> None:
    with pytest.raises(ScriptError) as caught:
        call(name, *args)
    assert message in caught.value.message


def test_crypt() -> None:
    hashed = call("crypt", "secret", "$6$saltstring")
    assert hashed.startswith("$6$saltstring$")
    assert call("crypt", "secret", hashed) == hashed
    assert call("crypt", "Secret", hashed) != hashed
    assert call("crypt", "\xff\xfe", "$1$salt") != call("crypt", "\xff", "$1$salt")


@pytest.mark.parametrize(
    ("key", "salt"), [("", ""), ("x", ""), ("x", "*0"), ("*0", "*0"), ("x", "$unknown$"), ("a\0b", "$1$a")]
)
def test_crypt_of_a_salt_that_is_none_equals_nothing(key: str, salt: str) -> None:
    result = call("crypt", key, salt)
    assert result.startswith("*") and result != salt


def test_rsa_keys_in_all_their_forms() -> None:
    key: Any = load_pem_private_key(RSA_KEY.encode(), None)
    pkcs1 = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode("latin-1")
    pkcs8 = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()).decode("latin-1")
    signature = call("rsa_sign", "message", raw("rsa_privatekey", RSA_KEY))
    assert call("rsa_sign", "message", pkcs1) == signature
    assert call("rsa_sign", "message", pkcs8, {"format": "PrivateKeyInfo"}) == signature
    public = method("X509->public_key", raw("X509::String", RSA_CERTIFICATE))
    assert call("rsa_verify", "message", signature, public, {"format": "SubjectPublicKeyInfo"}) is True
    assert call("rsa_verify", "another", signature, public) is False
    assert call("rsa_verify", "message", "", public) is False
    assert call("rsa_verify", "message", signature, public, {"hash": "sha512"}) is False
    assert call("rsa_sign", "message", KEY, {"pem": True}) is None
    assert call("rsa_sign", "message", RSA_KEY) is None, "PEM without the option"
    for name in ("md5", "sha1", "sha512"):
        assert call("rsa_verify", "m", call("rsa_sign", "m", pkcs1, {"hash": name}), public, {"hash": name}) is True


def test_the_kinds_of_keys_are_kept_apart() -> None:
    ed25519 = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for text, kind in ((RSA_KEY, "rsa"), (KEY, "ec"), (ed25519, "ed25519")):
        for other in ("rsa", "ec", "ed25519"):
            made = raw(f"{other}_privatekey", text)
            assert (made is not None) == (other == kind)
            assert raw(f"is_{kind}_privatekey", made) is (other == kind)
    assert raw("rsa_privatekey", "") is None


def test_ed25519() -> None:
    """RFC 8032 section 7.1, test 2."""
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").decode("latin-1")
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c").decode("latin-1")
    signature = call("ed25519_sign", "\x72", seed)
    assert signature.encode("latin-1").hex().startswith("92a009a9f0d4cab8720e820b5f642540")
    assert call("ed25519_sign", "\x72", seed + public) == signature
    assert call("ed25519_verify", "\x72", signature, public) is True
    assert call("ed25519_verify", "\x73", signature, public) is False
    assert call("ed25519_verify", "\x72", signature[:-1], public) is False
    assert call("ed25519_verify", "\x72", signature, public[:-1]) is None
    assert call("ed25519_sign", "x" * 100_000, seed) == call("ed25519_sign", "x" * 100_000, seed)


# certificates


def test_certificates_are_read() -> None:
    assert raw("X509::String", CERTIFICATE, {"pem": True}) is not None
    der = method("X509->export", raw("X509::String", CERTIFICATE))
    assert method("X509->export", raw("X509::String", der)) == der
    assert raw("X509::String", der, {"pem": True}) is None
    assert raw("X509::String", "") is None
    assert raw("X509::String", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n") is None
    chain = raw("X509::String", CERTIFICATE + CA, {"pem": True, "multiple": True})
    assert [method("X509->serial_number", one) for one in chain.values()] == ["0ABC", "01"]
    assert method("X509->export", raw("X509::String", der), {"pem": True}) == CERTIFICATE


def test_parts_of_a_certificate() -> None:
    one = raw("X509::String", CERTIFICATE)
    names = method("X509->subject_alt_name", one)
    assert {key: list(value.values()) for key, value in names.items.items()} == {
        "DNS": ["mail.example.com"],
        "email": ["a@example.com"],
    }
    assert not method("X509->subject_alt_name", raw("X509::String", CA))
    basic = next(iter(method("X509->extensions", one).values())).items
    assert basic == {"oid": "2.5.29.19", "name": "basicConstraints", "critical": True, "value": "0\0"}
    assert method("X509->public_key", one, {"pem": True}).startswith("-----BEGIN PUBLIC KEY-----\n")


def error_of(this: str, *lists: list[str], **_: Any) -> str | None:
    result = method("X509->verify", raw("X509::String", this), *lists).items
    assert result["result"] is ("error" not in result)
    return result.get("error")


def test_chains() -> None:
    assert error_of(CERTIFICATE, [CA]) is None
    assert error_of(CERTIFICATE, [CA + RSA_CERTIFICATE], [RSA_CERTIFICATE]) is None
    assert error_of(CERTIFICATE, []) == "no certificate is trusted"
    assert error_of(CERTIFICATE, [RSA_CERTIFICATE]) is not None
    assert error_of(CERTIFICATE, [CA], [], [REVOCATIONS]) == "the certificate 0ABC is revoked"
    assert error_of(RSA_CERTIFICATE, [CA], [], [REVOCATIONS]) is None


# S/MIME


def test_signatures_there_and_back() -> None:
    identity = {"x509": raw("X509::String", CERTIFICATE), "privatekey": raw("ec_privatekey", KEY), "chain": [CA]}
    message = "Subject: x\r\n\r\nline\n"
    signature = call("cms_sign", message, identity)
    assert call("cms_verify", signature, message, {"store": [CA]})["result"] is True
    assert call("cms_verify", signature, message.replace("\r\n", "\n"), {"store": [CA]})["result"] is True
    assert call("cms_verify", signature, message, {"certs": [CERTIFICATE]})["result"] is True
    trusted = {"store": [CA]}
    assert call("cms_verify", signature, message + "x", trusted)["error"] == "the message is not the one that was signed"
    assert call("cms_verify", signature, None, trusted)["error"] == "the signature is detached, and there is no message"
    assert "not among" in call("cms_verify", signature, message, {"certs": [RSA_CERTIFICATE]})["error"]
    assert call("cms_verify", signature, message, {"store": [RSA_CERTIFICATE]})["result"] is False
    attached = call("pkcs7_sign", "text", CERTIFICATE + KEY, {"detached": False})
    found = call("cms_verify", attached, None, {"store": [CA]})
    assert (found["data"], found["signers"][0].kind) == ("text", "X509Resource")
    assert call("cms_verify", attached, "other", {"store": [CA]})["result"] is False
    spoiled = attached[:-1] + chr(ord(attached[-1]) ^ 1)
    assert call("cms_verify", spoiled, None, {"store": [CA]})["result"] is False


def test_a_key_that_is_not_the_certificates_makes_no_good_signature() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    signature = call("cms_sign", "text", CERTIFICATE + pem)
    assert signature is None or call("cms_verify", signature, "text", {"store": [CA]})["result"] is False
    assert call("cms_sign", "text", CERTIFICATE) is None, "without a key"


def test_encryption() -> None:
    for options in ({}, {"cipher": "aes128"}):
        sealed = call("cms_encrypt", "a\nb\xff", {"certs": [RSA_CERTIFICATE]}, options)["data"]
        wanted = {"result": True, "data": "a\nb\xff", "cms": "data"}
        assert call("cms_decrypt", sealed, {"certificate": RSA_CERTIFICATE + RSA_KEY}) == wanted
        assert call("cms_decrypt", sealed, RSA_CERTIFICATE + RSA_KEY, {"id": False}) == wanted
        assert call("cms_type", sealed) == "pkcs7-envelopedData"
    stranger = rsa.generate_private_key(65537, 2048)
    pem = stranger.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for certificate in (RSA_CERTIFICATE + pem, CERTIFICATE + KEY):
        assert call("cms_decrypt", sealed, {"certificate": certificate})["result"] is False
    assert call("cms_decrypt", "nonsense", {"certificate": RSA_CERTIFICATE + RSA_KEY})["result"] is False


def test_signed_and_then_sealed() -> None:
    signed = call("cms_sign", "text", CERTIFICATE + KEY, {"detached": False, "digest": "sha512"})
    sealed = call("cms_encrypt", signed["data"], {"certs": [RSA_CERTIFICATE]})
    opened = call("cms_decrypt", sealed["data"], RSA_CERTIFICATE + RSA_KEY)
    assert opened["cms"] == "signed"
    found = call("cms_verify", opened["data"], "", {"store": [CA]}, {"detached": False, "data": True})
    assert (found["result"], found["data"]) == (True, "text")
    detached = call("cms_sign", "text", CERTIFICATE + KEY, {"digest": "sha384"})["data"]
    assert "data" not in call("cms_verify", detached, "text", {"store": [CA]})
    assert call("cms_verify", detached, "text", {"store": [CA]}, {"data": True})["data"] == "text"
    assert call("cms_sign", "text", CERTIFICATE, {"digest": "sha256"}) == {"result": False}


@pytest.mark.parametrize("extra", [[], ["-noattr"], ["-keyid"], ["-md", "sha512"], ["-stream", "-nodetach"]])
@pytest.mark.parametrize(("certificate", "key"), [(CERTIFICATE, KEY), (RSA_CERTIFICATE, RSA_KEY)])
def test_signatures_that_openssl_made(tmp_path: Path, extra: list[str], certificate: str, key: str) -> None:
    for name, text in (("cert", certificate), ("key", key), ("text", "Hello\r\n")):
        (tmp_path / name).write_bytes(text.encode())
    command = ["openssl", "cms", "-sign", "-binary", "-signer", "cert", "-inkey", "key", "-in", "text", "-outform", "DER"]
    made = subprocess.run([*command, *extra], cwd=tmp_path, capture_output=True, check=True).stdout.decode("latin-1")
    found = call("cms_verify", made, "Hello\r\n", {"store": [CA]})
    assert found["result"] is True, found
    assert call("cms_verify", made, "Hullo\r\n", {"store": [CA]})["result"] is False


def test_openssl_reads_ours(tmp_path: Path) -> None:
    signature = call("cms_sign", "Hello\r\n", CERTIFICATE + KEY)
    sealed = call("cms_encrypt", "Hello\r\n", {"certs": [RSA_CERTIFICATE]})["data"]
    files = {"sig": signature, "sealed": sealed, "ca": CA, "text": "Hello\r\n", "cert": RSA_CERTIFICATE, "key": RSA_KEY}
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    verify = ["-verify", "-inform", "DER", "-in", "sig", "-content", "text", "-CAfile", "ca", "-purpose", "any", "-binary"]
    decrypt = ["-decrypt", "-inform", "DER", "-in", "sealed", "-recip", "cert", "-inkey", "key", "-binary"]
    for arguments in (verify, decrypt):
        done = subprocess.run(["openssl", "cms", *arguments], cwd=tmp_path, capture_output=True, check=True)
        assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(b"Hello\r\n").digest()


def test_spoiled_signatures_are_only_wrong() -> None:
    chance = random.Random(5)
    signature = call("cms_sign", "text", CERTIFICATE + KEY, {"detached": False})
    for _ in range(300):
        spoiled = list(signature)
        for _ in range(chance.randint(1, 4)):
            spoiled[chance.randrange(len(spoiled))] = chr(chance.randrange(256))
        text = "".join(spoiled[: chance.choice([len(spoiled), chance.randrange(len(spoiled))])])
        found = call("cms_verify", text, "text", {"store": [CA]})
        assert found["result"] is ("error" not in found)
    for text in ("", "0", "0\x80" * 1000, "\x30\x84\xff\xff\xff\xff"):
        assert call("cms_verify", text, "text", {"store": [CA]})["error"] == "the signature cannot be read"
