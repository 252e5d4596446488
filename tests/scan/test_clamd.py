"""Scans by a real clamd with signatures of ours, and what the client makes of one that is away, slow or broken."""

from __future__ import annotations

import asyncio
import base64
import io
import zipfile

import pytest

from hslpy.errors import OperatorError
from hslpy.scan.clamd import ClamdClient, ClamdSettings, read_reply
from hslpy.scan.contract import ClamResult, ScannerFailed, ScanRequest
from tests.scan.conftest import listening
from tests.support.scanners import Clamd, free_port, message

TEXT = ("Hslpy.Test.Text.UNOFFICIAL",)  # clamd's mark of signatures that are not the project's own


def scan(settings: ClamdSettings, content: bytes) -> tuple[str, ...]:
    return asyncio.run(ClamdClient(settings).scan(ScanRequest(content))).names


def attached(content: bytes) -> bytes:
    """Give a message with an attachment."""
    return (
        b"From: a@example.com\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nHi\r\n"
        b"--x\r\nContent-Type: application/octet-stream; name=f\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(content).replace(b"\n", b"\r\n")
        + b"\r\n--x--\r\n"
    )


@pytest.mark.xdist_group("clamd")
def test_signatures_in_text_attachments_and_archives(clamd: Clamd) -> None:
    settings = ClamdSettings(clamd.address)
    assert scan(settings, message()) == ()
    assert scan(settings, message(Clamd.OFFER_TEXT)) == TEXT
    assert scan(settings, attached(Clamd.HASHED)) == ("Hslpy.Test.Digest.UNOFFICIAL",)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.txt", b"x" * 5000 + Clamd.OFFER_TEXT)
    assert scan(settings, attached(packed.getvalue())) == TEXT


@pytest.mark.xdist_group("clamd")
def test_many_at_once_and_any_bytes(clamd: Clamd) -> None:
    async def run() -> None:
        client = ClamdClient(ClamdSettings(clamd.address, concurrency=2))
        contents = [b"", b"\0\xff" * 100_000, message(Clamd.OFFER_TEXT), message(b"a" * 500_000)] * 3
        found = await asyncio.gather(*(client.scan(ScanRequest(content)) for content in contents))
        assert [one.names for one in found] == [(), (), TEXT, ()] * 3

    asyncio.run(run())


def test_a_unix_socket_and_the_daemons_own_limit() -> None:
    with Clamd(unix=True, lines="StreamMaxLength 1M") as daemon:
        assert scan(ClamdSettings(daemon.address), message(Clamd.OFFER_TEXT)) == TEXT
        with pytest.raises(ScannerFailed, match=r"StreamMaxLength|size limit exceeded"):
            scan(ClamdSettings(daemon.address), b"x" * 8_000_000)


def test_a_message_above_the_size_is_not_scanned() -> None:
    assert scan(ClamdSettings(f"127.0.0.1:{free_port()}", max_size_bytes=100), b"x" * 101) == ()


def test_nobody_listening_fails_at_once() -> None:
    for address in (f"127.0.0.1:{free_port()}", "/nonexistent/socket"):
        with pytest.raises(ScannerFailed) as caught:
            scan(ClamdSettings(address), message())
        assert caught.value.temporary and "no answer within" not in caught.value.message


def test_a_daemon_that_never_answers_costs_the_timeout() -> None:
    async def run() -> None:
        async with listening(None) as listener:
            client = ClamdClient(ClamdSettings(f"127.0.0.1:{listener.port}", timeout_s=0.2, concurrency=1))
            for content in (b"x", b"x" * 20_000_000):  # the second fills the socket's buffers
                with pytest.raises(ScannerFailed, match=r"no answer within 0\.2 s"):
                    await client.scan(ScanRequest(content))

    asyncio.run(run())


@pytest.mark.parametrize("answer", [b"", b"stream: ERROR\0", b"nonsense\0", b"\0" * 10, b"x" * 70_000])
def test_answers_that_are_none(answer: bytes) -> None:
    async def run() -> None:
        async with listening(answer) as listener:
            with pytest.raises(ScannerFailed):
                await ClamdClient(ClamdSettings(f"127.0.0.1:{listener.port}")).scan(ScanRequest(b"x"))

    asyncio.run(run())


def test_answers() -> None:
    assert read_reply(b"stream: OK\0") == ClamResult()
    assert read_reply(b"stream: A FOUND\0stream: B.C FOUND\0stream: A FOUND\0") == ClamResult(("A", "B.C"))


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1:0", "127.0.0.1:x", ""])
def test_bad_addresses(address: str) -> None:
    with pytest.raises(OperatorError, match="no address of clamd"):
        ClamdClient(ClamdSettings(address))
