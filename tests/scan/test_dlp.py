"""Rules over messages: names, types, digests and texts in parts and archives, and what limits hold."""

from __future__ import annotations

import asyncio
import base64
import bz2
import gzip
import hashlib
import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any

import pytest

from hslpy.errors import OperatorError
from hslpy.scan.dlp import BadPattern, DlpEngine, DlpOptions, DlpResult, DlpRule, DlpSettings
from hslpy.scan.file_types import media_types

UNKNOWN, PASSWORD, DEPTH = "ERR_UNKNOWN_ERROR", "ERR_PASSWORD_PROTECTED", "ERR_RECURSION_LIMIT"
DEFAULTS = DlpSettings()
SECRET = DlpRule("SECRET", regex=("/top secret/",))
PROGRAM = DlpRule("PROGRAM", filename=(r"\.exe$",))


def part(data: bytes, name: str = "", kind: str = "application/octet-stream") -> bytes:
    named = f'Content-Disposition: attachment; filename="{name}"\r\n' if name else ""
    head = f"Content-Type: {kind}\r\n{named}Content-Transfer-Encoding: base64\r\n\r\n"
    return head.encode() + base64.encodebytes(data).replace(b"\n", b"\r\n")


def mail(*parts: bytes) -> bytes:
    head = b"From: a@example.com\r\nSubject: =?utf-8?q?Quarterly_r=C3=A9sum=C3=A9?=\r\n"
    head += b"Content-Type: multipart/mixed; boundary=x\r\n\r\n"
    return head + b"".join(b"--x\r\n" + one + b"\r\n" for one in parts) + b"--x--\r\n"


def zipped(files: Mapping[str, bytes], **more: Any) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, **more) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return out.getvalue()


def encrypted(data: bytes) -> bytes:
    """Give a zip file with its entries marked as encrypted."""
    local, central = data.find(b"PK\x03\x04"), data.find(b"PK\x01\x02")
    marked = bytearray(data)
    marked[local + 6] |= 1
    marked[central + 8] |= 1
    return bytes(marked)


def scan(content: bytes, *rules: DlpRule, settings: DlpSettings = DEFAULTS, **options: Any) -> DlpResult:
    async def run() -> DlpResult:
        engine = DlpEngine(settings)
        try:
            return await engine.scan(content, rules, DlpOptions(**options))
        finally:
            await engine.close()

    return asyncio.run(run())


def found(content: bytes, *rules: DlpRule, **more: Any) -> list[tuple[str, str]]:
    return list(scan(content, *rules, **more).matches)


def test_what_each_kind_of_pattern_sees() -> None:
    data = b"MZ" + b"\0" * 100 + b"top secret"
    content = mail(b"Content-Type: text/plain\r\n\r\nHello", part(data, "Report.EXE", "image/png"))
    rules = [
        DlpRule("name", filename=(r"\.exe$",)),
        DlpRule("case", filename=("/exe$/",)),
        DlpRule("declared", mimetype=("^image/",)),
        DlpRule("found", mimetype=("/^application\\/x-dosexec$/",)),
        DlpRule("multipart", mimetype=("/^multipart/",)),
        DlpRule("md5", md5hash=(hashlib.md5(data).hexdigest().upper(),)),
        DlpRule("sha1", sha1hash=(hashlib.sha1(data).hexdigest(),)),
        DlpRule("sha2", sha2hash=(hashlib.sha256(data).hexdigest(),)),
        DlpRule("sha512", sha2hash=("0" * 64, hashlib.sha512(data).hexdigest())),
        DlpRule("text", regex=("TOP secret",)),
        DlpRule("text-case", regex=("/TOP secret/",)),
        DlpRule("subject", regex=("/Quarterly r\\xc3\\xa9sum/",)),
        DlpRule("subject-u", regex=("/Quarterly r.sum/u",)),
        DlpRule("raw-header", regex=("/^Subject: =[?]utf-8/m",)),
        DlpRule("nothing"),
    ]
    assert sorted(found(content, *rules)) == sorted(
        [(name, "2") for name in ("name", "declared", "found", "md5", "sha1", "sha2", "sha512", "text")]
        + [(name, "0") for name in ("multipart", "subject", "subject-u", "raw-header")]
    )


def test_charsets_and_encodings() -> None:
    rule = DlpRule("word", regex=("/B\u00fccher/u".encode().decode("latin-1"),))
    for data, charset in (("B\u00fccher", "iso-8859-1"), ("B\u00fccher", "utf-16-le"), ("B\u00fccher", "utf-8")):
        content = mail(part(data.encode(charset), kind=f"text/plain; charset={charset}"))
        assert found(content, rule) == [("word", "1")], charset
    assert found(mail(part("B\u00fccher".encode("utf-16"), "x.txt")), rule) == [("word", "1")]
    quoted = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ntop=20se=\r\ncret"
    assert found(mail(quoted), SECRET) == [("SECRET", "1")]
    assert found(b"Subject: x\r\n\r\nsome top secret\r\n", SECRET) == [("SECRET", "0")]
    around = mail(b"\r\nx").replace(b"--x\r\n", b"top secret\r\n--x\r\n", 1)
    assert found(around, SECRET) == [("SECRET", "0")]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.zip", zipped({"dir/inner.exe": b"top secret"})),
        ("a.tar", tarred({"inner.exe": b"top secret"})),
        ("a.tgz", gzip.compress(tarred({"inner.exe": b"top secret"}))),
        ("inner.exe.gz", gzip.compress(b"top secret")),
        ("inner.exe.bz2", bz2.compress(b"top secret")),
        ("inner.exe.xz", lzma.compress(b"top secret")),
        ("a.tar.xz", lzma.compress(tarred({"inner.exe": b"top secret"}))),
        ("a.bin", zipped({"b.zip": zipped({"c.gz": gzip.compress(tarred({"inner.exe": b"top secret"}))})})),
        ("a.dat", b"before" * 100 + zipped({"inner.exe": b"top secret"})),
        ("setup", b"MZ" + b"\0" * 99 + zipped({"inner.exe": b"top secret"})),
        ("a.docx", zipped({"[Content_Types].xml": b"", "word/document.xml": b"top secret", "word/x.exe": b""})),
        ("a.eml", mail(part(b"top secret", "x.exe"))),
        ("a.eml", b"Subject: top secret\r\nContent-Disposition: inline; filename=x.exe\r\n\r\n"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_archives(name: str, data: bytes) -> None:
    result = scan(mail(part(data, name)), SECRET, PROGRAM)
    assert sorted(result.matches) == [("PROGRAM", "1"), ("SECRET", "1")] and not result.problem


def test_messages_within() -> None:
    inner = mail(b"\r\nnothing", part(b"top secret", "x.exe"))
    assert found(
        mail(b"Content-Type: message/rfc822\r\n\r\n" + inner.replace(b"=x\r", b"=y\r").replace(b"--x", b"--y")), PROGRAM
    ) == [("PROGRAM", "1.1.2")]
    assert found(mail(part(inner, kind="message/rfc822")), SECRET) == [("SECRET", "1")]


def test_what_cannot_be_opened() -> None:
    plain = zipped({"inner.exe": b"top secret"})
    assert found(mail(part(encrypted(plain), "a.zip")), SECRET, PROGRAM) == [(PASSWORD, "1"), ("PROGRAM", "1")]
    office = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le")
    assert found(mail(part(office, "a.docx")), SECRET) == [(PASSWORD, "1")]
    for broken in (plain[:40], gzip.compress(b"x" * 9000)[:-20], bz2.compress(b"x" * 99)[:20], lzma.compress(b"x")[:20]):
        result = scan(mail(part(broken, "a.zip"), part(b"top secret")), SECRET)
        assert result.matches == ((UNKNOWN, "1"), ("SECRET", "2")) and "archive a.zip" in result.problem
    strange = bytearray(plain)
    for at in (plain.find(b"PK\x03\x04") + 8, plain.find(b"PK\x01\x02") + 10):
        strange[at] = 99  # a compression that nobody knows
    assert found(mail(part(bytes(strange), "a.zip"))) == [(UNKNOWN, "1")]


def test_depth() -> None:
    data = b"top secret"
    for _ in range(4):
        data = zipped({"x.zip": data})
    content = mail(part(data, "a.zip"))
    assert found(content, SECRET) == [("SECRET", "1")]
    assert found(content, SECRET, recursion_limit=5) == [("SECRET", "1")]
    assert found(content, SECRET, recursion_limit=4) == [(DEPTH, "1")]
    assert found(content, SECRET, recursion_limit=0) == [(DEPTH, "1")]
    nested = b"\r\ntop secret"
    for n in range(12):
        nested = (
            f"Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n".encode()
            + nested
            + f"\r\n--b{n}--\r\n".encode()
        )
    assert found(nested, SECRET) == [(DEPTH, ".".join("1" * 10))]
    assert found(nested, SECRET, recursion_limit=12) == [("SECRET", ".".join("1" * 12))]


def test_archives_that_unpack_to_more_than_they_may() -> None:
    bomb = zipped({"zeros": b"\0" * 30_000_000})
    settings = DlpSettings(max_unpacked_bytes=1_000_000)
    result = scan(mail(part(bomb, "b.zip"), part(b"top secret")), SECRET, settings=settings)
    assert result == DlpResult(((UNKNOWN, "1"), ("SECRET", "2")), "archive b.zip: too large unpacked")
    many = zipped({f"{n}": b"" for n in range(50)})
    assert scan(mail(part(many, "m.zip")), settings=DlpSettings(max_files=49)).problem == "archive m.zip: too many files"
    assert not scan(mail(part(many, "m.zip")), settings=DlpSettings(max_files=50)).problem


def test_time_limits() -> None:
    slow = DlpRule("slow", regex=("/(w|w)+[^w]/",))
    result = scan(mail(part(b"w" * 60)), slow, timeout_s=0.1)
    assert result == DlpResult(((UNKNOWN, "0"),), "no time left")
    assert scan(mail(part(b"w" * 60)), slow, settings=DlpSettings(timeout_s=0.1), timeout_s=60.0).problem == "no time left"


def test_many_patterns_take_no_more_time_than_there_is() -> None:
    many = DlpRule("many", regex=tuple(f"/a{n}b+c/" for n in range(100_000)))
    assert scan(mail(), many, timeout_s=0.1) == DlpResult(((UNKNOWN, "0"),), "no time left")


def header(kind: bytes, body: bytes) -> bytes:
    member = tarfile.TarInfo("pax")
    member.type, member.size = kind, len(body)
    return member.tobuf() + body + b"\0" * (-len(body) % 512)


LAST = tarfile.TarInfo("x").tobuf() + bytes(1024)


@pytest.mark.parametrize(
    "archive",
    [
        header(tarfile.XGLTYPE, b"".join(b"12 k%06d=\n" % n for n in range(20_000))) + LAST,
        header(tarfile.XGLTYPE, b"".join(b"12 k%06d=\n" % n for n in range(9_000))) * 2 + LAST,
        header(tarfile.XHDTYPE, b"6 a=b\n") * 80 + LAST,
        header(tarfile.GNUTYPE_LONGNAME, b"a" * 512) * 80 + LAST,
    ],
    ids=["large", "large together", "many", "many names"],
)
def test_headers_of_tar_files_that_grow(archive: bytes) -> None:
    assert scan(mail(part(archive, "a.tar"))).problem == "archive a.tar: too many or too large headers"


def test_a_directory_of_a_zip_file_is_not_read_when_it_names_too_many() -> None:
    entry = b"PK\1\2" + bytes(42)
    directory = entry * 100_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(directory), 0, 0)
    assert scan(mail(part(directory + end, "a.zip"))).problem == "archive a.zip: too many files"


def test_the_loop_goes_on_meanwhile() -> None:
    async def run() -> int:
        engine = DlpEngine()
        content = mail(*(part(b"a b c " * 200_000) for _ in range(3)))
        task = asyncio.ensure_future(engine.scan(content, [DlpRule("r", regex=("/(a|b)+ [^c] z/", "/q.*w/"))], DlpOptions()))
        turns = 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        await task
        await engine.close()
        return turns

    assert asyncio.run(run()) > 50


def test_stopping_at_a_match() -> None:
    content = mail(part(b"top secret", "a.exe"), part(b"top secret", "b.exe"))
    assert len(found(content, SECRET, PROGRAM)) == 4
    assert found(content, SECRET, PROGRAM, stop_on_match=True) == [("PROGRAM", "1")]
    locked = mail(part(encrypted(zipped({"x": b""})), "a.zip"), part(b"top secret"))
    assert found(locked, SECRET, stop_on_match=True) == [(PASSWORD, "1"), ("SECRET", "2")]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (DlpRule("r", regex=("/(/",)), "bad regex"),
        (DlpRule("r", filename=("*.exe",)), "bad filename"),
        (DlpRule("r", md5hash=("00",)), "hexadecimal digests as md5hash"),
        (DlpRule("r", sha1hash=("z" * 40,)), "hexadecimal digests as sha1hash"),
        (DlpRule("r", sha2hash=("0" * 40,)), "hexadecimal digests as sha2hash"),
    ],
)
def test_bad_rules(rule: DlpRule, message: str) -> None:
    with pytest.raises(BadPattern, match=message):
        scan(mail(), rule)
    with pytest.raises(OperatorError, match=message):
        DlpEngine(DlpSettings((rule,)))


def test_names_of_rules() -> None:
    for names in (["a", "a"], [UNKNOWN]):
        with pytest.raises(OperatorError, match="names of their own"):
            DlpEngine(DlpSettings(tuple(DlpRule(name) for name in names)))


def test_file_types() -> None:
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600
    wanted = {
        b"hello": "text/plain",
        b"\0\1\2\3": "application/octet-stream",
        b"%PDF-1.7\n": "application/pdf",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 20: "image/png",
        b"\xff\xd8\xff\xe0\0\x10JFIF\0" + b"\0" * 20: "image/jpeg",
        b"GIF89a" + b"\0" * 20: "image/gif",
        b"\x7fELF\2\1\1": "application/x-executable",
        b"#!/bin/sh\n": "text/x-script",
        b"7z\xbc\xaf\x27\x1c\0": "application/x-7z-compressed",
        b"Rar!\x1a\x07\1\0": "application/x-rar",
        ole: "application/x-ole-storage",
        ole + "WordDocument".encode("utf-16-le"): "application/msword",
        zipped({"a": b""}): "application/zip",
        zipped({"[Content_Types].xml": b"", "xl/workbook.xml": b""}): (
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
        ),
        zipped({"META-INF/MANIFEST.MF": b""}): "application/java-archive",
        tarred({"a": b"b"}): "application/x-tar",
    }
    assert [media_types(data)[0] for data in wanted] == list(wanted.values())
