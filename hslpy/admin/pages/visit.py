"""What a page is given: who asks for what, and how it answers. In: a request, a session. Out: replies.

Must not know which pages there are.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from threading import Lock
from typing import Any, Literal, TypeVar
from urllib.parse import urlencode, urlsplit

from fastapi import Request
from fastapi.datastructures import FormData
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from hslpy.admin.site import Site
from hslpy.egress.accounts.admins import Principal
from hslpy.egress.accounts.sessions import SignedIn
from hslpy.egress.rules.names import Refused
from hslpy.egress.store.database import Actor, Database
from hslpy.records import record

T = TypeVar("T")
Tone = Literal["ok", "info", "warning", "critical"]
_NUMBER = re.compile("[0-9]{1,18}")
MOST_BANNERS = 500  # of all sessions together


@record
class Banner:
    """What was done, for the next page of a session; `details` has a line for each row of several.

    By the ticket `undo` it can be taken back; empty where it cannot.
    """

    text: str
    tone: Tone = "ok"
    details: tuple[str, ...] = ()
    undo: str = ""


class Banners:
    """The banners of all sessions that were not shown yet."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, list[Banner]] = OrderedDict()
        self._lock = Lock()

    def add(self, key: str, banner: Banner) -> None:
        with self._lock:
            self._waiting.setdefault(key, []).append(banner)
            while len(self._waiting) > MOST_BANNERS:
                self._waiting.popitem(last=False)

    def take(self, key: str) -> Sequence[Banner]:
        """Give what is to be shown to a session now, once."""
        with self._lock:
            return self._waiting.pop(key, [])


class Shared:
    """What all requests to one application have in common. `render` makes HTML of a template."""

    def __init__(self, render: Callable[[Visit, str, Mapping[str, Any]], str]) -> None:
        self.render = render
        self.banners = Banners()
        self.finished: OrderedDict[tuple[str, str], str] = OrderedDict()


class Visit:
    """One request for a page. `form` is empty but for a POST; `session` is None on the pages that are open to all."""

    def __init__(
        self,
        site: Site,
        request: Request,
        form: FormData,
        session: SignedIn | None,
        shared: Shared,
    ) -> None:
        self.site = site
        self.request = request
        self.form = form
        self.session = session
        self.shared = shared
        self._loop = asyncio.get_running_loop()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Give what comes of something asynchronous, from the thread that a plain function of a page runs in."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # what was asked

    @property
    def database(self) -> Database:
        return self.site.database

    @property
    def now(self) -> float:
        return self.site.clock.time()

    @property
    def path(self) -> str:
        return self.request.url.path

    @property
    def source_address(self) -> str:
        return self.request.client.host if self.request.client is not None else ""

    @property
    def is_dialog(self) -> bool:
        """Whether the script asks, to show the reply within the page that there is."""
        return "x-dialog" in self.request.headers

    @property
    def is_resumed(self) -> bool:
        """Whether a form comes back after a new sign-in: it is to be shown again, not to be carried out."""
        return "resume" in self.form

    @property
    def signed_in(self) -> SignedIn:
        if self.session is None:
            raise Refused("authentication required", 401)
        return self.session

    @property
    def principal(self) -> Principal:
        return self.signed_in.principal

    @property
    def actor(self) -> Actor:
        return self.principal.actor("page", self.source_address)

    def part(self, name: str) -> str:
        """Give a part of the path: `id` of `/outgoing/{id}`."""
        return str(self.request.path_params[name])

    def id(self, name: str = "id") -> int:
        """Give a part of the path, or a field, that is a number. Raises Refused."""
        found = numbers([str(self.request.path_params.get(name) or self.field(name))])
        if not found:
            raise Refused("there is no such thing", 404)
        return found[0]

    def asked(self, name: str, default: str = "") -> str:
        """Give an argument of the address."""
        return str(self.request.query_params.get(name, default))

    def asked_all(self, name: str) -> Sequence[str]:
        return [str(one) for one in self.request.query_params.getlist(name)]

    def field(self, name: str, default: str = "") -> str:
        """Give a field of the form."""
        value = self.form.get(name, default)
        return value.replace("\x00", "") if isinstance(value, str) else default

    def given(self, name: str) -> str:
        """Give a field of the form, else an argument of the address: of a page that shows a form and takes it."""
        return self.field(name) if name in self.form else self.asked(name)

    def fields(self, name: str) -> Sequence[str]:
        return [one.replace("\x00", "") for one in self.form.getlist(name) if isinstance(one, str)]

    def file(self, name: str) -> bytes:
        """Give what was uploaded in a field. Raises Refused where nothing was."""
        value = self.form.get(name)
        if value is None or isinstance(value, str) or not value.filename:
            raise Refused("choose a file first")
        return value.file.read()

    # forms that are sent once

    def new_form(self) -> str:
        """Give a name for a form, by which it is known when it comes a second time."""
        return secrets.token_urlsafe(12)

    def finished(self, form: str) -> str:
        """Give where the browser was sent when this form came before; empty for one that has not."""
        return self.shared.finished.get((self.signed_in.key, form), "") if form else ""

    def finish(self, form: str, to: str) -> None:
        self.shared.finished[self.signed_in.key, form] = to
        while len(self.shared.finished) > MOST_BANNERS:
            self.shared.finished.popitem(last=False)

    # what is answered

    def render(self, template: str, status: int = 200, /, **context: Any) -> Response:
        """Give a page. The template has `visit`, `nav`, `banners` and `csrf` beside what is given here."""
        return HTMLResponse(self.shared.render(self, template, context), status)

    def redirect(self, path: str, **arguments: str) -> Response:
        """Send the browser to a page of ours, whatever was asked for."""
        path = local(path) + (("&" if "?" in path else "?") + urlencode(arguments) if arguments else "")
        if self.is_dialog:
            return JSONResponse({"location": path})
        return RedirectResponse(path, 303)

    def json(self, value: Any, status: int = 200) -> Response:
        return JSONResponse(value, status)

    def csv(self, text: str, name: str) -> Response:
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(text.encode(), headers=headers, media_type="text/csv; charset=utf-8")

    def banner(self, text: str, tone: Tone = "ok", details: Sequence[str] = (), undo: str = "") -> None:
        """Say on the next page what was done."""
        self.shared.banners.add(self.signed_in.key, Banner(text, tone, tuple(details), undo))


def numbers(texts: Iterable[str]) -> list[int]:
    """Give the numbers among texts, of 18 digits at most: any longer can be of nothing that is kept."""
    return [int(one) for one in texts if _NUMBER.fullmatch(one)]


def local(path: str) -> str:
    """Give a path of this site as it is, and `/` in the place of anything that leads to another."""
    try:
        parts = urlsplit(path)
    except ValueError:
        return "/"
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return path if is_ours and path.isprintable() and "\\" not in path else "/"
