"""What the builtins of one hook run leave behind for its verdict. In: settings made by scripts. Out: plain data.

`hooks/verdicts.py` turns it into a verdict when the scripts have ended; nothing is committed before. No rules in here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from typing import Any, Literal

from hslpy.errors import ScriptError
from hslpy.mail.address import Address
from hslpy.mail.downgrade import NoSevenBitForm, to_7bit
from hslpy.mail.edits import PartEdits, edited
from hslpy.mail.message import Field, HeaderEditor, Message, field_text, split_content
from hslpy.mail.parts import Part
from hslpy.mail.received import mail_date
from hslpy.mail.reply import Reply
from hslpy.mail.verdict import DsnOptions
from hslpy.records import dataclass, record

MOST_ACTIONS = 10_000  # on one message; ten times what a transaction's recipients are

# What a recipient (or, for eod, the message) came to, weightiest first. Source: the DATA context's first paragraph.
OutcomeKind = Literal["reject", "defer", "quarantine", "delete", "deliver"]


@record
class Outcome:
    """What is to be said to the client for one action. `keeps_held`: a quarantine that answers 5xx and keeps its copy."""

    kind: OutcomeKind
    reply: Reply | None = None
    disconnect: bool = False
    keeps_held: bool = False


@record
class Order:
    """One copy to be queued. `sender` None is the message's, which a later recipient's script may still change.

    `header` and `body` None are those received. `survives_reject`: it is kept although the client is told 5xx.
    """

    recipient: Address
    transport_id: str
    metadata: Mapping[str, str]
    sender: Address | None = None
    sender_params: Mapping[str, str] | None = None
    recipient_params: Mapping[str, str] = field(default_factory=dict)
    header: bytes | None = None
    body: bytes | None = None
    delay_s: float = 0.0
    hold: bool = False
    quarantine_id: str | None = None
    survives_reject: bool = False
    job_id: str = ""
    priority: int = 0
    tenant_id: str = ""

    def held_values(self) -> tuple[object, ...]:
        """What it holds: see `lang/memory.py`."""
        return self.header, self.body, self.metadata


@dataclass(slots=True)
class EditedMessage:
    """A message with the edits pending on it; `snapshots` are what they once were, `dated` the clock of a Date set later."""

    message: Message
    editor: HeaderEditor | None = field(default=None, kw_only=True)
    parts: PartEdits = field(default_factory=PartEdits, kw_only=True)
    snapshots: list[Any] = field(default_factory=list, kw_only=True)
    tree: Part | None = field(default=None, kw_only=True)
    signers: tuple[Callable[[bytes, bytes | None], bytes], ...] = field(default=(), kw_only=True)
    dated: Callable[[], float] | None = field(default=None, kw_only=True)
    _done: tuple[Any, ...] = field(default=(), kw_only=True)  # what `leaving` gave last, and of what

    def held_values(self) -> tuple[object, ...]:
        """What it holds: see `lang/memory.py`."""
        return self.message, self.editor, self.parts, self.snapshots, self._done[1:]

    def edits(self) -> HeaderEditor:
        """Give the editor of the pending edits of the header, made when first needed."""
        if self.editor is None:
            self.editor = HeaderEditor(self.message)
        return self.editor

    @property
    def is_edited(self) -> bool:
        return bool(self.parts or self.signers or self.dated or (self.editor is not None and self.editor.changed))

    def unsigned(self) -> tuple[bytes, bytes | None]:
        """Give header and body with the edits so far; the body None as it was received."""
        editor = self.edits()
        fields, body = editor.fields, None
        if self.parts:
            fields, body = edited(self.root, fields, self.parts)
            if body and not body.endswith(b"\r\n"):
                body += b"\r\n"
        elif not self.dated:
            return editor.render(), None
        if self.dated is not None:
            fields = with_date(fields, self.dated())
        return ("".join(one.raw for one in fields) + "\r\n").encode("latin-1"), body

    def leaving(self) -> tuple[bytes | None, bytes | None]:
        """Give header and body as they leave, edited and signed; None for what is as received."""
        if not self.is_edited:
            return None, None
        key = (self.edits().fields, self.parts, self.parts.changes, self.signers, self.dated)
        if not self._done or any(one is not other and one != other for one, other in zip(key, self._done[0], strict=True)):
            header, body = self.unsigned()
            if self.signers:
                header, body = self._to_be_signed(header, body)
            for sign in self.signers:
                header = sign(header, body) + header
            self._done = (key, header, body)
        return self._done[1], self._done[2]

    def _to_be_signed(self, header: bytes, body: bytes | None) -> tuple[bytes, bytes | None]:
        """Give header and body 7-bit where they can be, so that no server on the way has to change what was signed.

        Source: RFC 6376 section 5.3. A header beyond ASCII goes to servers that take all of it.
        """
        if not header.isascii() or (self.message.content if body is None else body).isascii():
            return header, body
        try:
            return split_content(to_7bit(header + (self.message.body if body is None else body)))
        except NoSevenBitForm:
            return header, body

    def content(self) -> bytes:
        """Give the whole message as it leaves."""
        header, body = self.leaving()
        if header is None:
            return self.message.content
        return header + (self.message.body if body is None else body)

    def snapshot(self) -> int:
        """Remember the edits; give the number that `restore` takes."""
        editor = self.edits()
        self.snapshots.append((editor.fields, editor.changes, self.parts.copy(), self.signers, self.dated))
        return len(self.snapshots) - 1

    def restore(self, number: int) -> None:
        fields, changes, parts, self.signers, self.dated = self.snapshots[number]
        self.parts = parts.copy()
        self.edits().restore(fields, changes)

    def discard(self) -> int:
        """Forget the edits and signatures; give how many there were."""
        count = len(self.signers) + self.parts.changes + bool(self.dated)
        count += self.editor.discard() if self.editor is not None else 0
        self.signers, self.dated = (), None
        self.parts = PartEdits()
        return count

    @property
    def root(self) -> Part:
        """The message as the outermost of its parts."""
        if self.tree is None:
            self.tree = Part(self.message.content, 0, len(self.message.content))
        return self.tree


def with_date(fields: tuple[Field, ...], at: float) -> tuple[Field, ...]:
    """Give the fields with the one Date that says `at`, where the first was, else on top."""
    new = Field("Date", field_text("Date", mail_date(at)))
    places = [number for number, one in enumerate(fields) if one.name.lower() == "date"]
    kept = [one for one in fields if one.name.lower() != "date"]
    kept.insert(places[0] if places else 0, new)
    return tuple(kept)


@dataclass(slots=True)
class DataState(EditedMessage):
    """One message at the end of DATA, over all its recipients; the fields from `recipient` on are the current one's."""

    sender: Address
    sender_params: Mapping[str, str]
    transaction_id: str
    scans: dict[str, Any]
    metadata: dict[str, str] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    actions: int = 0
    recipient: Address | None = None
    recipient_params: Mapping[str, str] = field(default_factory=dict)
    transport_id: str = ""
    delay_s: float = 0.0
    remote_ip: str | None = None  # the client's, where a script changed it
    helo: str | None = None
    places: dict[int, str] = field(default_factory=dict)  # the script's line that gave an outcome, by its number

    def held_values(self) -> tuple[object, ...]:
        """What scripts made it hold; the message received is the server's."""
        return self.editor, self.parts, self.snapshots, self._done[1:], self.orders

    def order(self, **changes: Any) -> Order:
        """Give the copy for the current recipient, with `changes` of its fields."""
        assert self.recipient is not None
        header, body = self.leaving()
        order = Order(
            self.recipient,
            self.transport_id,
            dict(self.metadata),
            recipient_params=self.recipient_params,
            header=header,
            body=body,
            delay_s=self.delay_s,
        )
        return replace(order, **changes) if changes else order

    def act(self, outcome: Outcome, order: Order | None = None) -> None:
        """Note an action on the message, and what it means for the reply."""
        self.outcomes.append(outcome)
        self.take(order)

    def take(self, order: Order | None) -> None:
        """Count an action, with the copy that it orders if it does. Raises ScriptError R310 when there are too many."""
        if self.actions >= MOST_ACTIONS:
            raise ScriptError("R310", f"a message takes at most {MOST_ACTIONS:,} actions", hint="is a loop without end?")
        if order is not None:
            self.orders.append(order)
        self.actions += 1


@dataclass(slots=True)
class QueueState:
    """One queued recipient before or after an attempt. `attempt` are fields of `mail.verdict.TryOptions`."""

    metadata: dict[str, str]
    metadata_changed: bool = False
    attempt: dict[str, Any] = field(default_factory=dict)
    dsn: DsnOptions | None = None
    source_by: str = ""  # the script's line that named the source
