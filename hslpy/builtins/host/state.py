"""What the builtins of one hook run leave behind for its verdict. In: settings made by scripts. Out: plain data.

`hooks/verdicts.py` turns it into a verdict when the scripts have ended; nothing is committed before. No rules in here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hslpy.errors import ScriptError
from hslpy.mail.address import Address
from hslpy.mail.message import HeaderEditor, Message
from hslpy.mail.parts import Part
from hslpy.mail.reply import Reply

MOST_ACTIONS = 10_000  # on one message; ten times what a transaction's recipients are

# What a recipient (or, for eod, the message) came to, weightiest first. Source: the DATA context's first paragraph.
OutcomeKind = Literal["reject", "defer", "quarantine", "delete", "deliver"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to be said to the client for one action. `keeps_held`: a quarantine that answers 5xx and keeps its copy."""

    kind: OutcomeKind
    reply: Reply | None = None
    disconnect: bool = False
    keeps_held: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """One copy to be queued. `sender` None is the message's, which a later recipient's script may still change.

    `header` None is the header as received. `survives_reject`: it is kept although the client is told 5xx.
    """

    recipient: Address
    transport_id: str
    metadata: Mapping[str, str]
    sender: Address | None = None
    sender_params: Mapping[str, str] | None = None
    recipient_params: Mapping[str, str] = field(default_factory=dict)
    header: bytes | None = None
    delay_s: float = 0.0
    hold: bool = False
    quarantine_id: str | None = None
    survives_reject: bool = False
    job_id: str = ""


@dataclass(slots=True)
class EditedMessage:
    """A message with the edits pending on it; `snapshots` are what they once were."""

    message: Message
    editor: HeaderEditor | None = field(default=None, kw_only=True)
    snapshots: list[Any] = field(default_factory=list, kw_only=True)
    tree: Part | None = field(default=None, kw_only=True)
    signers: tuple[Callable[[bytes, bytes], bytes], ...] = field(default=(), kw_only=True)
    signed: tuple[Any, ...] = field(
        default=(None, None, None), kw_only=True
    )  # what was signed last, by whom, and the result

    def edits(self) -> HeaderEditor:
        """Give the editor of the pending edits, made when first needed."""
        if self.editor is None:
            self.editor = HeaderEditor(self.message)
        return self.editor

    def header(self) -> bytes | None:
        """Give the header with the edits so far and signed, None when there is neither."""
        if self.signers:
            plain = self.edits().render()
            if self.signed[0] is not plain or self.signed[1] is not self.signers:
                header = plain
                for sign in self.signers:
                    header = sign(header, b"") + header  # signers of a message know its body's digest
                self.signed = (plain, self.signers, header)
            return bytes(self.signed[2])
        return self.editor.render() if self.editor is not None and self.editor.changed else None

    def snapshot(self) -> int:
        """Remember the edits; give the number that `restore` takes."""
        self.snapshots.append((self.edits().fields, self.signers))
        return len(self.snapshots) - 1

    def restore(self, number: int) -> None:
        fields, self.signers = self.snapshots[number]
        self.edits().restore(fields)

    def discard(self) -> int:
        """Forget the edits and signatures; give how many there were."""
        count = len(self.signers) + (self.editor.discard() if self.editor is not None else 0)
        self.signers = ()
        return count

    @property
    def root(self) -> Part:
        """The message as the outermost of its parts."""
        if self.tree is None:
            self.tree = Part(self.message.content, 0, len(self.message.content))
        return self.tree


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
    places: dict[int, str] = field(default_factory=dict)  # the script's line that gave an outcome, by its number

    def order(self, **changes: Any) -> Order:
        """Give the copy for the current recipient, with `changes` of its fields."""
        assert self.recipient is not None
        fields: dict[str, Any] = {
            "recipient": self.recipient,
            "transport_id": self.transport_id,
            "metadata": dict(self.metadata),
            "recipient_params": self.recipient_params,
            "header": self.header(),
            "delay_s": self.delay_s,
        }
        return Order(**(fields | changes))

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
    source_by: str = ""  # the script's line that named the source
