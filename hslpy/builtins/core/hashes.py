"""Digests and message authentication codes. In: strings. Out: lowercase hex, bytes with option `binary`, or a number."""

from __future__ import annotations

import hashlib
import hmac
from typing import Protocol

from hslpy.builtins.core.arguments import as_bytes, as_text, read_options, stretches
from hslpy.errors import ScriptError
from hslpy.lang.conversions import format_number
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array

TOPIC = Topic("hashes")

_SHORT = 4096  # characters that are hashed in a few microseconds: nothing to charge
_SIZES = {256.0: "sha256", 512.0: "sha512"}


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...
    def hexdigest(self) -> str: ...


def _finish(call: Run, function: str, digest: _Digest, message: str, options: Array | None) -> str:
    for part in stretches(call, message):
        digest.update(as_bytes(part))
    if options is not None and read_options(function, options, {"binary": False})["binary"]:
        return as_text(digest.digest())
    return digest.hexdigest()


def _sha2(function: str, hashsize: float) -> str:
    name = _SIZES.get(hashsize)
    if name is None:
        raise ScriptError("R108", f"{function}() wants `hashsize` as 256 or 512, got {format_number(hashsize)}")
    return name


@TOPIC.builtin(
    "md5(message: string, [options: array]) -> string",
    effect=Effect.PURE,
    examples=['md5("a")  // "0cc175b9c0f1b6a831c399e269772661"', 'length(md5("a", ["binary" => true]))  // 16'],
)
def md5(call: Run, message: str, options: Array | None = None) -> str:
    """Give the MD5 digest in hex, or as bytes with option `binary`."""
    if options is None and len(message) <= _SHORT:
        return hashlib.md5(message.encode("latin-1")).hexdigest()
    return _finish(call, "md5", hashlib.md5(usedforsecurity=False), message, options)


@TOPIC.builtin(
    "sha1(message: string, [options: array]) -> string",
    effect=Effect.PURE,
    examples=['sha1("a")  // "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"'],
)
def sha1(call: Run, message: str, options: Array | None = None) -> str:
    """Give the SHA-1 digest in hex, or as bytes with option `binary`."""
    return _finish(call, "sha1", hashlib.sha1(usedforsecurity=False), message, options)


@TOPIC.builtin(
    "sha2(message: string, hashsize: number, [options: array]) -> string",
    effect=Effect.PURE,
    examples=['sha2("a", 256)[:16]  // "ca978112ca1bbdca"'],
)
def sha2(call: Run, message: str, hashsize: float, options: Array | None = None) -> str:
    """Give the SHA-256 or SHA-512 digest in hex, or as bytes with option `binary`."""
    return _finish(call, "sha2", hashlib.new(_sha2("sha2", hashsize)), message, options)


@TOPIC.builtin(
    "hmac_md5(key: string, message: string, [options: array]) -> string",
    effect=Effect.PURE,
    examples=['hmac_md5("key", "message")  // "4e4748e62b463521f6775fbf921234b5"'],
)
def hmac_md5(call: Run, key: str, message: str, options: Array | None = None) -> str:
    """Give the HMAC-MD5 of `message` under `key` in hex, or as bytes with option `binary`."""
    return _hmac(call, "hmac_md5", "md5", key, message, options)


@TOPIC.builtin(
    "hmac_sha1(key: string, message: string, [options: array]) -> string",
    effect=Effect.PURE,
    examples=['hmac_sha1("key", "message")  // "2088df74d5f2146b48146caf4965377e9d0be3a4"'],
)
def hmac_sha1(call: Run, key: str, message: str, options: Array | None = None) -> str:
    """Give the HMAC-SHA-1 of `message` under `key` in hex, or as bytes with option `binary`."""
    return _hmac(call, "hmac_sha1", "sha1", key, message, options)


@TOPIC.builtin(
    "hmac_sha2(key: string, message: string, hashsize: number, [options: array]) -> string",
    effect=Effect.PURE,
    examples=['hmac_sha2("key", "message", 256)[:16]  // "6e9ef29b75fffc5b"'],
)
def hmac_sha2(call: Run, key: str, message: str, hashsize: float, options: Array | None = None) -> str:
    """Give the HMAC-SHA-256 or HMAC-SHA-512 of `message` under `key` in hex, or as bytes with option `binary`."""
    return _hmac(call, "hmac_sha2", _sha2("hmac_sha2", hashsize), key, message, options)


def _hmac(call: Run, function: str, name: str, key: str, message: str, options: Array | None) -> str:
    block = hashlib.new(name).block_size
    secret = as_bytes(key)
    if len(secret) > block:  # RFC 2104 section 2; done here, a stretch at a time
        digest = hashlib.new(name)
        for part in stretches(call, key):
            digest.update(as_bytes(part))
        secret = digest.digest()
    return _finish(call, function, hmac.new(secret, digestmod=name), message, options)


@TOPIC.builtin("hash(message: string) -> number", effect=Effect.PURE, examples=['hash("a") == hash("a")  // true'])
def hash_(call: Run, message: str) -> float:
    """Give a number from 0 to 2**48 - 1 that is always the same for the same message; not for secrets."""
    digest = hashlib.blake2b(digest_size=6)
    for part in stretches(call, message):
        digest.update(as_bytes(part))
    return float(int.from_bytes(digest.digest(), "big"))
