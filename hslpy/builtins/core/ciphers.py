"""AES, and the system's crypt(3). In: strings of bytes. Out: the like, or none where a key or length doesn't fit."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from hslpy.builtins.core.arguments import as_bytes, as_text, read_options, stretches
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array
from hslpy.late import crypto, ctypes

TOPIC = Topic("ciphers")

_KEY_BYTES = (16, 24, 32)
_BLOCK_BYTES = 16
_OPTIONS = {"iv": "", "padding": True}


def _cipher(function: str, key: str, mode: str, iv: str) -> crypto.Cipher[Any] | None:
    """Give the cipher, or None for a key or vector of a length that AES hasn't. Raises ScriptError for the mode."""
    if mode not in ("ecb", "cbc"):
        raise ScriptError("R108", f'{function}() wants "ecb" or "cbc" as `mode`, got "{mode[:20]}"')
    if len(key) not in _KEY_BYTES or (mode == "cbc" and len(iv) != _BLOCK_BYTES):
        return None
    return crypto.Cipher(crypto.AES(as_bytes(key)), crypto.CBC(as_bytes(iv)) if mode == "cbc" else crypto.ECB())


def _through(call: Run, context: crypto.CipherContext, data: str) -> list[bytes]:
    call.reserve(2 * len(data))
    return [context.update(as_bytes(part)) for part in stretches(call, data)]


@TOPIC.builtin(
    "aes_encrypt(message: string, key: string, mode: string, [options: array]) -> string | none",
    effect=Effect.PURE,
    examples=[
        'unpack("H*", aes_encrypt("text", pack("a16", "key"), "ecb"))  // ["15e36637363712fc2e699b9c95b75393"]',
        'aes_encrypt("text", pack("a32", "key"), "cbc")  // none',
    ],
)
def aes_encrypt(call: Run, message: str, key: str, mode: str, options: Array | None = None) -> str | None:
    """Encrypt with AES, `mode` "ecb" or "cbc"; none when the key has not 16, 24 or 32 bytes or the vector not 16.

    Options: `iv`, the vector for cbc, and `padding` (true): as PKCS #7; without it whole blocks of 16 bytes only.
    """
    given = read_options("aes_encrypt", options, _OPTIONS)
    cipher = _cipher("aes_encrypt", key, mode, given["iv"])
    if cipher is None or (not given["padding"] and len(message) % _BLOCK_BYTES):
        return None
    context = cipher.encryptor()
    parts = _through(call, context, message)
    if given["padding"]:
        padder = crypto.PKCS7(8 * _BLOCK_BYTES).padder()
        tail = as_bytes(message[len(message) - len(message) % _BLOCK_BYTES :])
        padded = padder.update(tail) + padder.finalize()
        parts.append(context.update(padded[len(tail) :]))
    parts.append(context.finalize())
    return as_text(b"".join(parts))


@TOPIC.builtin(
    "aes_decrypt(message: string, key: string, mode: string, [options: array]) -> string | none",
    effect=Effect.PURE,
    examples=['aes_decrypt(aes_encrypt("text", pack("a16", "key"), "ecb"), pack("a16", "key"), "ecb")  // "text"'],
)
def aes_decrypt(call: Run, message: str, key: str, mode: str, options: Array | None = None) -> str | None:
    """Decrypt what aes_encrypt() made; none also when the padding is wrong, as it mostly is after a wrong key.

    Options as of aes_encrypt(). What is encrypted is not protected from being changed: sign it where that matters.
    """
    given = read_options("aes_decrypt", options, _OPTIONS)
    cipher = _cipher("aes_decrypt", key, mode, given["iv"])
    if cipher is None or len(message) % _BLOCK_BYTES:
        return None
    context = cipher.decryptor()
    parts = _through(call, context, message)
    parts.append(context.finalize())
    plain = b"".join(parts)
    if not given["padding"]:
        return as_text(plain)
    unpadder = crypto.PKCS7(8 * _BLOCK_BYTES).unpadder()
    try:
        end = unpadder.update(plain[-_BLOCK_BYTES:]) + unpadder.finalize()
    except ValueError:
        return None
    return as_text(plain[:-_BLOCK_BYTES] + end)


_CRYPT_DATA_BYTES = 1 << 18  # libxcrypt's struct crypt_data has 32,768 bytes, glibc's had 131,232
_LIBRARIES = ("libcrypt.so.1", "libcrypt.so.2")
_ROUNDS = re.compile(r"\$[56]\$rounds=([0-9]+)")
_COST = re.compile(r"\$2[abxy]\$([0-9]{2})\$")
_MOST_ROUNDS = 2_000_000  # a second or so; the salt may be somebody else's
_MOST_COST = 14
_REFUSED = "*0"


@cache
def _libcrypt() -> Any:
    """Give the system's crypt_r, or None."""
    from ctypes.util import find_library

    for name in (find_library("crypt"), *_LIBRARIES, None):
        try:
            function = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError):
            continue
        function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
        function.restype = ctypes.c_char_p
        return function
    return None


@TOPIC.builtin(
    "crypt(key: string, salt: string) -> string",
    effect=Effect.PURE,
    examples=["crypt(\"secret\", ''$1$salt'')  // ''$1$salt$ez2vlPGdaLYkJam5pWs/Y1''"],
)
def crypt(call: Run, key: str, salt: str) -> str:
    """Hash a password by the system's crypt(3); a hash made before serves as the salt: crypt($typed, $hash) === $hash.

    Which methods there are is the system's affair. A salt that it refuses gives "*0" (or "*1"), which equals no salt.
    Raises a script error for more than 2,000,000 rounds or a bcrypt cost above 14.
    """
    function = _libcrypt()
    if function is None:
        raise ScriptError("R108", "crypt() needs the system's libcrypt, which is not here", hint="install libcrypt1")
    rounds, cost = _ROUNDS.match(salt), _COST.match(salt)
    if (rounds and int(rounds[1][:12]) > _MOST_ROUNDS) or (cost and int(cost[1]) > _MOST_COST):
        raise ScriptError("R108", f"crypt() takes at most {_MOST_ROUNDS} rounds and a bcrypt cost of {_MOST_COST}")
    result: bytes | None = None
    if "\0" not in key and "\0" not in salt:
        buffer = ctypes.create_string_buffer(_CRYPT_DATA_BYTES)
        result = call.offload(function, as_bytes(key), as_bytes(salt), buffer)
    if result is None or result.startswith(b"*"):
        return "*1" if salt.startswith(_REFUSED) else _REFUSED
    return as_text(result)
