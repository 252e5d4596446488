"""What kind of file some bytes are. In: the bytes. Out: media types, as the `file` command calls them, the likeliest first.

Archives, Office files and programs are told apart here, the rest by puremagic's table. Must not know of messages or rules.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

OCTETS = "application/octet-stream"
ZIP, TAR = "application/zip", "application/x-tar"
GZIP, BZIP2, XZ = "application/gzip", "application/x-bzip2", "application/x-xz"
ENCRYPTED_OFFICE = "application/encrypted"

_HEAD_BYTES = 65_536  # puremagic's signatures lie in the first bytes, tar's at 257, ISO's at 32,769
_TEXT_BYTES = 4096
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_OFFICE_ZIP = {
    b"word/": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    b"xl/": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    b"ppt/": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}
_OLE_STREAMS = {  # names of an OLE file's streams, the rarer first
    "EncryptedPackage": ENCRYPTED_OFFICE,
    "WordDocument": "application/msword",
    "Workbook": "application/vnd.ms-excel",
    "PowerPoint Document": "application/vnd.ms-powerpoint",
    "VisioDocument": "application/vnd.visio",
    "__nameid_version1.0": "application/vnd.ms-outlook",
}
_STARTS = {
    b"\x1f\x8b": GZIP,
    b"BZh": BZIP2,
    b"\xfd7zXZ\0": XZ,
    b"7z\xbc\xaf\x27\x1c": "application/x-7z-compressed",
    b"Rar!\x1a\x07": "application/x-rar",
    b"MSCF": "application/vnd.ms-cab-compressed",
    b"\x7fELF": "application/x-executable",
    b"\xfe\xed\xfa": "application/x-mach-binary",
    b"\xcf\xfa\xed\xfe": "application/x-mach-binary",
    b"\xce\xfa\xed\xfe": "application/x-mach-binary",
    b"\xca\xfe\xba\xbe": "application/x-java-applet",
    b"#!": "text/x-script",
    b"%PDF-": "application/pdf",
    b"{\\rtf": "text/rtf",
}


def media_types(data: bytes) -> Sequence[str]:
    """Give the types that the bytes may be of, at least one."""
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_types(data)
    if data.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        found = [kind for name, kind in _OLE_STREAMS.items() if name.encode("utf-16-le") in data]
        return [*found[:1], "application/x-ole-storage"]
    if data.startswith(b"MZ") and len(data) > 64:
        return ["application/x-dosexec", *([ZIP] if _ends_as_zip(data) else [])]
    if data[257:262] == b"ustar":
        return [TAR]
    for start, kind in _STARTS.items():
        if data.startswith(start):
            return [kind]
    if _ends_as_zip(data):  # with something before it, which who unpacks it passes over
        return [ZIP]
    return [*_others(data), "text/plain" if is_text(data) else OCTETS]


def is_text(data: bytes) -> bool:
    """Say whether the bytes look like text of some charset of 8 bits, or UTF-16 with a mark."""
    return data.startswith((b"\xff\xfe", b"\xfe\xff")) or _CONTROLS.search(data, 0, _TEXT_BYTES) is None


def _ends_as_zip(data: bytes) -> bool:
    return data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557)) > 0  # the longest comment and its record


def _zip_types(data: bytes) -> list[str]:
    if b"[Content_Types].xml" in data:
        return [*[kind for start, kind in _OFFICE_ZIP.items() if start in data][:1], ZIP]
    if data[30:38] == b"mimetype":  # OpenDocument and EPUB name themselves in the first entry, uncompressed
        named = re.match(rb"[!-~]+", data[38 : 38 + 100])
        if named:
            return [named[0].split(b"PK")[0].decode("ascii"), ZIP]
    if b"META-INF/MANIFEST.MF" in data:
        return ["application/java-archive", ZIP]
    return [ZIP]


def _others(data: bytes) -> list[str]:
    import puremagic  # takes a tenth of a second, and only who scans needs it

    try:
        found = puremagic.magic_string(data[:_HEAD_BYTES])
    except (puremagic.PureError, ValueError):
        return []
    best = max((one.confidence for one in found), default=0.0)
    return list(dict.fromkeys(one.mime_type for one in found if one.confidence == best and one.mime_type))
