"""Edits of parts: what was set is read back, what was not touched keeps its bytes, and nothing breaks on broken messages."""

from __future__ import annotations

import email
import email.policy
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hslpy.mail.edits import Layer, PartEdits, edited
from hslpy.mail.message import HeaderEditor, Message
from hslpy.mail.parts import Part
from hslpy.mail.transfer import encoded, has_line, with_crlf


def no_work(size_bytes: int) -> None:
    assert size_bytes >= 0


@dataclass
class Node:
    """A part as a test makes it: a leaf, or a multipart of others."""

    body: bytes = b""
    boundary: str = ""
    parts: list[Node] = field(default_factory=list)
    preamble: bytes = b""
    epilogue: bytes = b""

    def render(self, extra: bytes = b"") -> bytes:
        if not self.boundary:
            return extra + b"Content-Type: text/plain\r\nX-Odd:\tas  is\r\n\r\n" + self.body
        line = b"--" + self.boundary.encode()
        out = extra + b'content-type: Multipart/Mixed; Boundary="%s"\r\n\r\n' % self.boundary.encode()
        out += self.preamble + b"\r\n" if self.preamble else b""
        out += b"".join(line + b"\r\n" + one.render() + b"\r\n" for one in self.parts)
        return out + line + b"--\r\n" + self.epilogue


_TEXTS = st.lists(st.sampled_from([b"word", b"", b"--b", b"--b0", b"--", b"=20", b"a" * 80]), max_size=4).map(b"\r\n".join)


def nodes(rng: random.Random, texts: list[bytes], depth: int, names: list[str]) -> Node:
    if depth == 0 or rng.random() < 0.4:
        return Node(body=rng.choice(texts))
    names.append(f"bound {len(names)}.")
    made = Node(boundary=names[-1], preamble=rng.choice([b"", b"pre"]), epilogue=rng.choice([b"", b"post", b"\r\n"]))
    made.parts = [nodes(rng, texts, depth - 1, names) for _ in range(rng.randint(1, 3))]
    return made


def rendered(root: Part, edits: PartEdits, editor: HeaderEditor | None = None) -> bytes:
    fields = editor.fields if editor is not None else tuple(root.header.fields)
    fields, body = edited(root, fields, edits)
    return "".join(one.raw for one in fields).encode("latin-1") + b"\r\n" + body


def leaves(content: bytes) -> list[bytes]:
    root = Part(content, 0, len(content))
    return [one.body() for one in (root, *root.descendants(no_work)) if one.boundary is None]


def std_leaves(content: bytes) -> list[bytes]:
    message = email.message_from_bytes(content, policy=email.policy.compat32)
    return [one.get_payload(decode=True) or b"" for one in message.walk() if not one.is_multipart()]


@settings(deadline=None)
@given(st.integers(0, 1 << 30), st.lists(_TEXTS, min_size=2, max_size=5))
def test_edits_are_read_back(seed: int, texts: list[bytes]) -> None:
    rng = random.Random(seed)
    tree = nodes(rng, texts, 3, [])
    content = tree.render(b"Subject: x\r\n")
    root = Part(content, 0, len(content))
    all_parts = [root, *root.descendants(no_work)]
    edits = PartEdits()
    wanted: list[bytes] = []
    touched: set[str] = set()
    for part in all_parts:
        if part.boundary is not None:
            continue
        now = [part.body()]
        what = rng.choice(("", "", "body", "remove", "before", "after", "new", "header", "layer"))
        new = f"new {part.id}\r\n=2E.".encode()
        finished = b"Content-Type: text/x\r\n\r\n" + new
        if what == "body":
            body, name = encoded(new, part.type)
            edits.change(part, body=body, encoding=name)
            now = [new]
        elif what in ("remove", "new") and part.depth:
            changes = {"removed": True} if what == "remove" else {"new": finished}
            edits.change(part, **changes)
            now = [] if what == "remove" else [new]
        elif what in ("before", "after") and part.depth:
            edits.change(part, **{what: (finished, finished)})
            now = [new, new, *now] if what == "before" else [*now, new, new]
        elif what == "layer":
            edits.change(part, layers=(Layer("multipart/mixed", f"inner {part.id}", (finished,)),))
            now = [new, *now]
        elif what == "header" and part.depth:
            edits.editor(part).add("X-New", "1")
        else:
            what = ""
        if what:
            touched.add(part.id)
        wanted += now
    result = rendered(root, edits)
    found = leaves(result)
    assert found == wanted
    if not touched:
        assert result == content


@settings(deadline=None)
@given(st.binary(max_size=300), st.lists(st.tuples(st.integers(0, 20), st.sampled_from("bnralhpe")), max_size=8))
def test_broken_messages_break_nothing(noise: bytes, orders: list[tuple[int, str]]) -> None:
    content = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + noise.replace(b"q", b"\r\n--b\r\n").replace(
        b"z", b"\r\n\r\n"
    )
    root = Part(content, 0, len(content))
    parts = [root, *root.descendants(no_work)]
    edits = PartEdits()
    for number, order in orders:
        part = parts[number % len(parts)]
        changes: dict[str, object] = {
            "b": {"body": b"new"},
            "n": {"new": b"\r\nnew"},
            "r": {"removed": True},
            "a": {"after": (b"\r\nafter",)},
            "l": {"layers": (Layer("multipart/mixed", "x"),)},
            "p": {"preamble": b"pre"},
            "e": {"epilogue": b"post"},
        }.get(order, {})
        if order == "h" and part.depth:
            edits.editor(part).add("A", "b")
        edits.change(part, **changes)
    edits.splice(min(3, len(content)), min(5, len(content)), b"raw")
    result = rendered(root, edits)
    assert len(list(Part(result, 0, len(result)).descendants(no_work))) < 100


@pytest.mark.parametrize(
    ("content", "order", "wanted"),
    [
        (b"--b\r\n--b--", {"after": (b"\r\nnew",)}, b"--b\r\n\r\n--b\r\n\r\nnew\r\n--b--"),
        (b"--b\r\n--b--", {"body": b"x"}, b"--b\r\n\r\nx\r\n--b--"),
        (b"--b\r\n\r\nA\r\n--b--", {"removed": True}, b"--b--"),
        (b"--b\r\n\r\nA", {"removed": True}, b""),
        (b"--b\r\n\r\nA", {"after": (b"\r\nnew",)}, b"--b\r\n\r\nA\r\n--b\r\n\r\nnew"),
        (b"pre\r\n--b\r\n\r\nA\n--b--\r\npost", {"removed": True}, b"pre\r\n--b--\r\npost"),
        (b"--b\r\n\r\nA\r\n--b--", {"removed": True, "before": (b"\r\nnew",)}, b"--b\r\n\r\nnew\r\n--b--"),
        (b"--b\r\nnothing\r\n--b--", {"body": b"x"}, b"--b\r\nnothing\r\n\r\nx\r\n--b--"),
    ],
)
def test_odd_places(content: bytes, order: dict[str, object], wanted: bytes) -> None:
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    whole = head + content
    root = Part(whole, 0, len(whole))
    edits = PartEdits()
    edits.change(root.children(no_work)[0], **order)
    assert rendered(root, edits) == head + wanted


@pytest.mark.parametrize(
    ("content", "order", "wanted"),
    [
        (b"p\r\n--b\r\n\r\nA\r\n--b--\r\nq", {"preamble": b"", "epilogue": b"Q"}, b"--b\r\n\r\nA\r\n--b--\r\nQ"),
        (b"--b\r\n\r\nA\r\n--b--", {"preamble": b"P", "epilogue": b"Q"}, b"P\r\n--b\r\n\r\nA\r\n--b--\r\nQ"),
        (b"--b\r\n\r\nA", {"epilogue": b"Q"}, b"--b\r\n\r\nA\r\n--b--\r\nQ"),
    ],
)
def test_what_is_around_the_parts(content: bytes, order: dict[str, object], wanted: bytes) -> None:
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    whole = head + content
    root = Part(whole, 0, len(whole))
    root.children(no_work)
    edits = PartEdits()
    edits.change(root, **order)
    assert rendered(root, edits) == head + wanted


def test_a_new_multipart_around_the_message_takes_the_content_fields_along() -> None:
    content = b"From: a@b\r\nContent-Type: text/html;\r\n charset=x\r\nSubject: s\r\nContent-Language:  en\r\n\r\n<b>\r\n"
    root = Part(content, 0, len(content))
    edits = PartEdits()
    layer = Layer('multipart/signed; protocol="application/x"', "B", after=(b"Content-Type: application/x\r\n\r\nsig",))
    edits.change(root, layers=(layer, Layer("multipart/mixed", "C", before=(b"\r\nhi",))))
    assert rendered(root, edits) == (
        b'From: a@b\r\nSubject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="C"\r\n\r\n'
        b'--C\r\n\r\nhi\r\n--C\r\nContent-Type: multipart/signed; protocol="application/x"; boundary="B"\r\n\r\n'
        b"--B\r\nContent-Type: text/html;\r\n charset=x\r\nContent-Language:  en\r\n\r\n<b>\r\n"
        b"\r\n--B\r\nContent-Type: application/x\r\n\r\nsig\r\n--B--\r\n--C--\r\n"
    )


def test_another_part_in_the_place_of_the_message() -> None:
    content = b"From: a@b\r\nSubject: s\r\nContent-Type: text/html\r\n\r\n<b>\r\n"
    root = Part(content, 0, len(content))
    edits = PartEdits()
    edits.change(root, new=b"Content-Type: text/plain\r\nSubject: t\r\n\r\nplain\r\n")
    wanted = b"From: a@b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\nSubject: t\r\n\r\nplain\r\n"
    assert rendered(root, edits) == wanted


def test_stretches_of_the_header_and_its_edits_together() -> None:
    content = b"A: 1\r\nB: 2\r\nC: 3\r\n\r\nbody\r\n"
    message = Message(content)
    root = Part(content, 0, len(content))
    editor = HeaderEditor(message)
    editor.delete("A")
    editor.set("C", "4")
    editor.add("X", "new")
    edits = PartEdits()
    edits.splice(9, 10, b"two")
    edits.splice(20, 22, b"BO")
    assert rendered(root, edits, editor) == b"X: new\r\nB: two\r\nC: 4\r\n\r\nBOdy\r\n"
    edits.splice(8, 11, b"!")
    assert rendered(root, edits, editor) == b"X: new\r\nB:!\nC: 4\r\n\r\nBOdy\r\n"


def test_an_outer_edit_covers_the_inner_ones() -> None:
    tree = Node(boundary="o", parts=[Node(boundary="i", parts=[Node(b"1"), Node(b"2")]), Node(b"3")])
    content = tree.render()
    root = Part(content, 0, len(content))
    first, last = root.children(no_work)
    edits = PartEdits()
    edits.change(first.children(no_work)[1], body=b"never")
    edits.change(first, new=b"\r\nnew")
    edits.change(last, body=b"three")
    kept = edits.copy()
    assert leaves(rendered(root, edits)) == [b"new", b"three"]
    edits.change(root, body=b"--o\r\n\r\nall\r\n--o--")
    assert leaves(rendered(root, edits)) == [b"all"]
    assert leaves(rendered(root, kept)) == [b"new", b"three"]


def test_the_message_within_a_message() -> None:
    inner = b"Subject: in\r\n\r\nold"
    content = b"Content-Type: message/rfc822\r\n\r\n" + inner
    root = Part(content, 0, len(content))
    (within,) = root.children(no_work)
    edits = PartEdits()
    edits.change(within, layers=(Layer("multipart/mixed", "B", after=(b"\r\nfoot",)),))
    edits.editor(within).set("Subject", "out")
    assert std_leaves(rendered(root, edits)) == [b"old", b"foot"]
    edits.change(within, removed=True)
    assert rendered(root, edits) == b"Content-Type: message/rfc822\r\n\r\n"


_BODIES = st.one_of(st.binary(max_size=2000), st.text(max_size=500).map(lambda text: text.encode()))


@settings(deadline=None)
@given(_BODIES, st.sampled_from([None, "text/plain", "text/html", "application/json", "image/png"]))
def test_encodings_keep_the_data(data: bytes, kind: str | None) -> None:
    body, name = encoded(data, kind, delimiters=(b"--b",))
    assert not has_line(body, b"--b") and (body.isascii() or not data.isascii())
    assert all(len(line) <= 998 for line in body.split(b"\r\n")) and b"\n" not in body.replace(b"\r\n", b"")
    whole = b"Content-Transfer-Encoding: " + name.encode() + b"\r\n\r\n" + body
    text = (kind or "text/").startswith("text/")
    assert Part(whole, 0, len(whole)).body() == (with_crlf(data) if text and name != "base64" else data) or (
        text and Part(whole, 0, len(whole)).body() == with_crlf(data)
    )
    assert name in ("7bit", "quoted-printable", "base64")


@pytest.mark.parametrize(
    ("data", "kind", "wanted", "name", "body"),
    [
        (b"plain\ntext", None, None, "7bit", b"plain\r\ntext"),
        (b"gr\xc3\xbcn und mehr davon, wie es sich liest", "text/plain", None, "quoted-printable", None),
        (b"\xe6\x97\xa5\xe6\x9c\xac", "text/plain", None, "base64", b"5pel5pys\r\n"),
        (b"a\nb", "application/x", None, "base64", None),
        (b"x" * 999, "text/plain", None, "quoted-printable", None),
        (b"--b", "text/plain", None, "base64", None),
        (b"--b\n", "multipart/mixed", None, "", b"--b\r\n"),
        (b"\xff\n", "text/plain", "8bit", "8bit", b"\xff\r\n"),
        (b"\xff\n", "text/plain", "binary", "binary", b"\xff\n"),
        (b"a=b", "text/plain", "quoted-printable", "quoted-printable", b"a=3Db"),
        (b"", "text/plain", "base64", "base64", b""),
    ],
)
def test_the_choice_of_an_encoding(data: bytes, kind: str | None, wanted: str | None, name: str, body: bytes | None) -> None:
    found = encoded(data, kind, wanted, (b"--b",))
    assert found[1] == name and body in (None, found[0])
