"""Telling operators: listings that began or ended, addresses suspended, gone or unfit. In: notices. Out: mail, a webhook.

Who is told, and where, is read from the site's settings each time. What cannot be sent is tried again, then logged; nobody
waits for it. Must not know how anything was found out, nor how mail gets into the queue.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, field
from datetime import UTC, datetime
from typing import Any, Literal

from hslpy.client.http_contract import HttpClient, HttpRequest
from hslpy.clock import Clock
from hslpy.egress.accounts import site
from hslpy.egress.reputation.listings import Alert
from hslpy.egress.store.database import Database
from hslpy.errors import MailError, OperatorError
from hslpy.log import Log
from hslpy.mail.message import field_text
from hslpy.mail.received import mail_date
from hslpy.mail.transfer import quoted_printable
from hslpy.records import record

Kind = Literal["listed", "cleared", "suspension", "vanished", "critical", "warm-up"]
WAITS_S: Sequence[float] = (5.0, 30.0, 120.0, 600.0)
"""How long is waited before each further try: a server is restarted in less."""
WEBHOOK_S = 10.0
MOST_NOTICES = 100  # in a mail or the text for a chat; more are counted
_MOST_ANSWER_BYTES = 1 << 16

Submit = Callable[[Sequence[str], bytes], Awaitable[None]]
"""Puts a message for these addresses, from the null sender, into this node's queue. Raises MailError, OperatorError."""

_SUBJECTS: Mapping[Kind, tuple[str, str]] = {
    "listed": ("new listing", "new listings"),
    "cleared": ("listing cleared", "listings cleared"),
    "suspension": ("note on suspensions", "notes on suspensions"),
    "vanished": ("address gone", "addresses gone"),
    "warm-up": ("warm-up of an address", "warm-ups of addresses"),
    "critical": ("address unfit to deliver from", "addresses unfit to deliver from"),
}


@record
class Notice:
    """One thing to tell; `details` go into the webhook's JSON beside kind and text."""

    kind: Kind
    text: str
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)


class Alerter:
    """Sends notices. `close` waits for nothing: what was not sent by then is logged. Belongs to one event loop."""

    def __init__(self, database: Database, http: HttpClient, submit: Submit, clock: Clock, node: str, log: Log) -> None:
        self._database = database
        self._http = http
        self._submit = submit
        self._clock = clock
        self._node = node
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0

    async def listings(self, alerts: Sequence[Alert], texts: Sequence[str]) -> None:
        """Tell of listings that began or ended, and of what followed of them: `on_alerts` of a checker."""
        await self.tell([*map(notice_of, alerts), *(Notice("suspension", text) for text in texts)])

    async def tell(self, notices: Sequence[Notice]) -> None:
        """Begin to tell; gives before it is done."""
        if not notices:
            return
        now = self._clock.time()
        settings = await asyncio.to_thread(self._settings)
        for notice in notices:
            level = "info" if notice.kind == "cleared" else "warning"
            self._log("reputation.alert", {"level": level, "kind": notice.kind, "text": notice.text})
        if settings.alert_addresses:
            self._count += 1
            message_id = f"{int(now * 1000)}.{self._count}.alert@{self._node}"
            content = mail_of(notices, self._node, settings.alert_addresses, now, message_id)
            self._start("mail", lambda: self._submit(settings.alert_addresses, content))
        if settings.alert_webhook:
            body = json.dumps(webhook_body(notices, self._node, now), ensure_ascii=False).encode()
            request = HttpRequest(
                settings.alert_webhook,
                "POST",
                (("Content-Type", "application/json"),),
                body=body,
                connect_timeout_s=WEBHOOK_S,
                timeout_s=WEBHOOK_S,
                most_bytes=_MOST_ANSWER_BYTES,
            )
            self._start("webhook", lambda: self._post(request))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _settings(self) -> site.Site:
        with self._database.read() as session:
            return site.read(session)

    def _start(self, by: str, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(self._insist(by, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _insist(self, by: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work, again and again where it fails for now."""
        error = ""
        try:
            for wait_s in (0.0, *WAITS_S):
                if wait_s:
                    await self._clock.sleep(wait_s)
                try:
                    await work()
                except (MailError, OperatorError) as failure:
                    error = failure.message
                    if isinstance(failure, MailError) and not failure.temporary:
                        break
                else:
                    return
        except asyncio.CancelledError:
            error = f"the server stops; {error}" if error else "the server stops"
        self._log("reputation.alert_not_sent", {"level": "error", "by": by, "error": error})

    async def _post(self, request: HttpRequest) -> None:
        """Raises MailError: HttpFailed, and for any answer but a success; redirects are not followed."""
        answer = await self._http.request(request)
        if not answer.is_success:
            temporary = answer.status >= 500 or answer.status in (408, 425, 429)
            raise MailError(f"{request.shown_url} answers {answer.status}", temporary=temporary)


def notice_of(alert: Alert) -> Notice:
    details = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(alert).items()}
    details["list"] = details.pop("list_name")
    del details["kind"]
    return Notice(alert.kind, alert.text, {**details, "at": _time(alert.at)})


def subject_of(notices: Sequence[Notice]) -> str:
    """Give one line: `2 new listings, 1 listing cleared`."""
    counts = Counter(notice.kind for notice in notices)
    return ", ".join(f"{counts[kind]} {words[counts[kind] > 1]}" for kind, words in _SUBJECTS.items() if counts[kind])


def webhook_body(notices: Sequence[Notice], node: str, now: float) -> Mapping[str, Any]:
    """Give what a webhook is posted; `text` is for chats, which show that."""
    texts = [notice.text for notice in notices[:MOST_NOTICES]]
    return {
        "node": node,
        "at": _time(now),
        "text": "\n".join([f"{node}: {subject_of(notices)}", *texts, *_more(notices)]),
        "notices": [{**notice.details, "kind": notice.kind, "text": notice.text} for notice in notices],
    }


def mail_of(notices: Sequence[Notice], node: str, recipients: Sequence[str], now: float, message_id: str) -> bytes:
    """Give the message that tells of notices, 7-bit, with CRLF. No answer is wanted. Source: RFC 3834 section 5."""
    lines = []
    for notice in notices[:MOST_NOTICES]:
        lines.append(notice.text)
        lines += [f"  {reason}" for reason in notice.details.get("reasons", ())]
        if notice.kind == "listed" and notice.details.get("removal_url"):
            lines.append(f"  Removal: {notice.details['removal_url']}")
    lines += _more(notices)
    text = "\r\n".join([*lines, "", f"Sent by {node}. Who is told is set under Site settings: alert_addresses.", ""])
    header = "".join(
        (
            field_text("From", f"Delivery IPs of {node} <postmaster@{node}>"),
            field_text("To", ", ".join(recipients).encode().decode("latin-1")),
            field_text("Subject", f"{node}: {subject_of(notices)}"),
            field_text("Date", mail_date(now)),
            field_text("Message-ID", f"<{message_id}>"),
            "Auto-Submitted: auto-generated\r\n",
            "MIME-Version: 1.0\r\n",
            "Content-Type: text/plain; charset=utf-8\r\n",
            "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
        )
    )
    return header.encode("latin-1") + quoted_printable(text.encode())


def _more(notices: Sequence[Notice]) -> list[str]:
    return [f"and {len(notices) - MOST_NOTICES} more"] if len(notices) > MOST_NOTICES else []


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
