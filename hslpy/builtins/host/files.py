"""Files that scripts read: the class File, and `file`, `file_get_contents` and `in_file` of older scripts.

In: names, as in "list.txt", "file:1" or "file://list.txt". Out: texts, or none for what cannot be read.
An object's `host` is a `client.files.ReadFile`. Source: the HSL manual, 2019, and of 2015 for the three functions.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hslpy.builtins.core.arguments import as_text, unknown_word, whole
from hslpy.builtins.core.tables import csv_rows, delimiter_of
from hslpy.builtins.host.options import BOOLEAN, NUMBER, TEXT, read_integer, read_options
from hslpy.client.files import FileRefused, Files, ReadFile
from hslpy.errors import ScriptError
from hslpy.lang.conversions import key_of_text, to_string, truth
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.growth import ELEMENT_BYTES, Growth
from hslpy.lang.run import Run
from hslpy.lang.values import Array, HslFunction, HslObject, Value

TOPIC = Topic("files")

CLASS, FILE_RESOURCE = "File", "FileResource"
_OFFLOAD_BYTES = 1 << 20  # reading as much from a slow disk may take 10 ms
_PIECE_BYTES = 1 << 16
_WHENCE = {"SEEK_SET": os.SEEK_SET, "SEEK_CUR": os.SEEK_CUR, "SEEK_END": os.SEEK_END}
_MOST_COLUMNS = 1 << 20
_GONE = (OSError, ValueError)


def file_object(file: ReadFile) -> HslObject:
    """Give a file as scripts hold it."""
    return HslObject(CLASS, None, file)


def file_of(this: HslObject) -> ReadFile:
    """Give the file of a File object."""
    file: Any = this.host
    assert isinstance(file, ReadFile)
    return file


def opened(call: Run, function: str, name: str) -> ReadFile | None:
    """Give the file of a name, None where there is none or it may not be read, which is logged."""
    files: Files = call.host.services.files
    sources = call.program.sources if call.program is not None else ()
    call.charge(50)
    try:
        file = files.open(name, dict.fromkeys(Path(source.path).parent for source in sources))
    except FileRefused as refused:
        why = str(refused)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            return None
        why = error.strerror or "it cannot be read"
    else:
        call.held.add(file)
        return file
    shown = name.encode("latin-1")[:200].decode("utf-8", "replace")
    call.host.warn("hooks.script_warning", text=f'{function}() cannot read "{shown}": {why}')
    return None


def _read_rest(call: Run, file: ReadFile) -> str:
    size = file.left()
    call.reserve_text(size)
    if size <= _OFFLOAD_BYTES or file.path is None:
        return as_text(file.read(size))
    return as_text(call.offload(file.read, size))


def _read_line(call: Run, file: ReadFile) -> str | None:
    """Give the next line without its end, LF or CR LF; None at the end of the file."""
    piece = file.piece_of_line(_PIECE_BYTES)
    call.charge(1 + (len(piece) >> 10))
    if len(piece) == _PIECE_BYTES and not piece.endswith(b"\n"):
        pieces = [piece]
        while piece and not piece.endswith(b"\n"):
            call.reserve_text(len(pieces) * _PIECE_BYTES)
            piece = file.piece_of_line(_PIECE_BYTES)
            pieces.append(piece)
        line = as_text(b"".join(pieces))
    elif not piece:
        return None
    else:
        line = as_text(piece)
    return line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line


# ---- the class File ---------------------------------------------------------------------------------


@TOPIC.builtin(
    "File(fileresource: string | FileResource | File) -> File | none",
    effect=Effect.IO,
    kind="class",
    examples=['$file = File("file://domains.txt");'],
)
def file_class(call: Run, fileresource: Value) -> HslObject | None:
    """Open a file for reading, by its name; none when there is none, or the settings don't let scripts read it.

    A relative name is looked for in the folders of the setting `files.folders`; without these, in those of the script, of
    its modules, and of `hooks.search_path`. Files close themselves, at the latest when the script ends.
    """
    if fileresource.__class__ is str:
        file = opened(call, "File", fileresource)
        return None if file is None else file_object(file)
    return HslObject(CLASS, None, fileresource.host)


@TOPIC.builtin(
    "close() -> none", effect=Effect.IO, kind="method", owner=CLASS, examples=['File::String("Hello")->close()  // none']
)
def close(this: HslObject) -> None:
    """Close the file; what is read afterwards is none."""
    file_of(this).close()


@TOPIC.builtin(
    "read([length: number]) -> string | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['File::String("Hello")->read(4)  // "Hell"'],
)
def read(call: Run, this: HslObject, length: float | None = None) -> str | None:
    """Give up to `length` bytes, or all that is left; "" at the end, none on an error."""
    file = file_of(this)
    try:
        if length is None:
            return _read_rest(call, file)
        size = min(read_integer("read", "length", whole(length, "read() wants `length`"), 0, 1 << 53), file.left())
        call.reserve_text(size)
        call.charge(1 + (size >> 10))
        return as_text(file.read(size))
    except _GONE:
        return None


@TOPIC.builtin(
    "readline() -> string | boolean | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['File::String("Hello\\nWorld")->readline()  // "Hello"'],
)
def readline(call: Run, this: HslObject) -> str | bool | None:
    """Give the next line without its end, LF or CR LF; false at the end, none on an error."""
    try:
        line = _read_line(call, file_of(this))
    except _GONE:
        return None
    return False if line is None else line


@TOPIC.builtin(
    'seek(offset: number, [whence: string = "SEEK_SET"]) -> number | none',
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['File::String("Hello")->seek(-1, "SEEK_END")  // 4'],
)
def seek(this: HslObject, offset: float, whence: str = "SEEK_SET") -> float | None:
    """Go to a position and give it; none where there is none.

    `whence` says from where `offset` counts: "SEEK_SET" the beginning, "SEEK_CUR" here, "SEEK_END" the end.
    """
    if whence not in _WHENCE:
        raise unknown_word("seek", "`whence`", whence, _WHENCE)
    file, by = file_of(this), whole(offset, "seek() wants `offset`")
    try:
        bases = {os.SEEK_CUR: file.tell(), os.SEEK_END: file.tell() + file.left()} if by < 0 else {}
        if by + bases.get(_WHENCE[whence], 0) < 0:
            return None
        return float(file.seek(by, _WHENCE[whence]))
    except (*_GONE, OverflowError):
        return None


@TOPIC.builtin(
    "tell() -> number | none", effect=Effect.IO, kind="method", owner=CLASS, examples=['File::String("Hello")->tell()  // 0']
)
def tell(this: HslObject) -> float | None:
    """Give the position in the file, in bytes; none on an error."""
    try:
        return float(file_of(this).tell())
    except _GONE:
        return None


@TOPIC.builtin(
    "getPath() -> string | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['File::String("Hello")->getPath()  // none'],
)
def get_path(this: HslObject) -> str | None:
    """Give the file's path; none for a File::String()."""
    path = file_of(this).path
    return None if path is None else as_text(os.fsencode(path))


@TOPIC.builtin(
    "String(data: string) -> File",
    effect=Effect.READS,
    kind="static method",
    owner=CLASS,
    examples=['File::String("Hello\\nWorld")->readline()  // "Hello"'],
)
def string(call: Run, data: str) -> HslObject:
    """Give a file whose content is `data`."""
    call.reserve(len(data))
    return file_object(ReadFile.of(data.encode("latin-1")))


@TOPIC.builtin(
    "read(filename: string) -> string | none",
    effect=Effect.IO,
    kind="static method",
    owner=CLASS,
    examples=['$text = File::read("file://settings.yaml");'],
)
def read_whole(call: Run, filename: str) -> str | None:
    """Give a file's whole content; none when it cannot be read."""
    return _content(call, "File::read", filename)


# ---- functions of older scripts ---------------------------------------------------------------------


def _content(call: Run, function: str, name: str) -> str | None:
    file = opened(call, function, name)
    if file is None:
        return None
    try:
        return _read_rest(call, file)
    except OSError:
        return None
    finally:
        file.close()


@TOPIC.builtin(
    "file_get_contents(filename: string) -> string | none",
    effect=Effect.IO,
    examples=['$text = file_get_contents("file:1");'],
    deprecated="File::read()",
)
def file_get_contents(call: Run, filename: str) -> str | None:
    """Give a file's whole content; none when it cannot be read. Names are those of File()."""
    return _content(call, "file_get_contents", filename)


def _lines(call: Run, function: str, name: str) -> Iterator[str]:
    file = opened(call, function, name)
    if file is None:
        return
    try:
        while (line := _read_line(call, file)) is not None:
            yield line
    except OSError:
        return
    finally:
        file.close()


@TOPIC.builtin(
    "file(filename: string) -> array | none",
    effect=Effect.IO,
    examples=['foreach (file("file:1") as $line) echo $line;'],
    deprecated="File() and its readline()",
)
def file(call: Run, filename: str) -> Array | None:
    """Give the lines of a file, without their ends; none when it cannot be read."""
    found = opened(call, "file", filename)
    if found is None:
        return None
    growth = Growth(call)
    lines: list[str] = []
    try:
        while (line := _read_line(call, found)) is not None:
            growth.add(ELEMENT_BYTES + len(line))
            lines.append(line)
    except OSError:
        return None
    finally:
        found.close()
    return Array.of(lines)


@TOPIC.builtin(
    "in_file(needle: any, filename: string, [options: array]) -> array",
    effect=Effect.IO,
    examples=['$row = in_file("192.0.2.1", "file:1", ["type" => "text/csv"]);'],
    deprecated="File()",
)
def in_file(call: Run, needle: Value, filename: str, options: Array | None = None) -> Array:
    """Give the words of the first line with the word `needle`, or [] when there is none, or the file cannot be read.

    | option | meaning | default |
    |---|---|---|
    | `type` | "text/plain", or "text/csv" with quotes and a first line of names | "text/plain" |
    | `delimiter` | what parts words | blanks; "," for CSV |
    | `assoc` | the words of CSV under the names of the first line | true |
    | `index` | the number of the word compared, from 0 | 0 |

    A function as `needle` gets the words of each line as an array, and says whether it is the one.
    """
    given = read_options("in_file", options, {"type": TEXT, "delimiter": TEXT, "assoc": BOOLEAN, "index": NUMBER})
    kind = given.get("type", "text/plain")
    if kind not in ("text/plain", "text/csv"):
        raise ScriptError("R302", 'in_file() wants option `type` as "text/plain" or "text/csv"')
    index = read_integer("in_file", "index", given.get("index", 0.0), 0, _MOST_COLUMNS)
    wanted = needle if needle.__class__ is str or _is_function(needle) else to_string(call, needle)
    names: list[str] = []
    for row in _rows(call, filename, kind, given.get("delimiter")):
        if kind == "text/csv" and given.get("assoc", True) and not names:
            names = row
        elif wanted.__class__ is str:
            if index < len(row) and row[index] == wanted:
                return _words(row, names)
        elif truth(call.invoke(wanted, _words(row, names))):
            return _words(row, names)
    return Array({}, 0)


def _is_function(value: Value) -> bool:
    return value.__class__ is HslFunction or hasattr(value, "call")


def _rows(call: Run, name: str, kind: str, delimiter: str | None) -> Iterator[list[str]]:
    if kind == "text/csv":
        text = _content(call, "in_file", name) or ""
        try:
            yield from csv_rows(call, text, delimiter_of("in_file", delimiter or ","))
        except csv.Error as error:
            raise ScriptError("R302", f'in_file() finds no CSV in "{name[:60]}": {error}') from None
        return
    if delimiter == "":
        raise ScriptError("R302", "in_file() wants an option `delimiter` that is not empty")
    for line in _lines(call, "in_file", name):
        call.reserve(ELEMENT_BYTES * (1 + (len(line) >> 3)))
        yield line.split(delimiter)


def _words(row: list[str], names: list[str]) -> Array:
    if not names:
        return Array.of(row)
    words = Array({}, 0)
    for at, word in enumerate(row):
        words.set(key_of_text(names[at]) if at < len(names) else at, word)
    return words


# ---- files of mail ------------------------------------------------------------------------------------


def memory_file(call: Run, content: bytes) -> HslObject:
    """Give a File over bytes."""
    call.reserve(len(content))
    return file_object(ReadFile.of(content))


def content_of_file(call: Run, file: ReadFile) -> bytes | None:
    """Give all that a file holds, from its beginning; None when it cannot be read."""
    try:
        at = file.tell()
        file.seek(0, os.SEEK_SET)
        size = file.left()
        call.reserve(2 * size)
        call.charge(1 + (size >> 10))
        content = file.read(size) if file.path is None or size <= _OFFLOAD_BYTES else bytes(call.offload(file.read, size))
        file.seek(at, os.SEEK_SET)
    except _GONE:
        return None
    return content
