"""The three families of errors. In: what went wrong, as data. Out: exceptions that only edges turn into text.

Anything raised that is none of these is a fault of ours and is logged in full by the handler of the hook run,
the attempt, the request or the command.
"""

from __future__ import annotations


class ScriptError(Exception):
    """The script author's fault: `code` is a row of `lang.diagnostics.CODES`, `span` the place (a `lang.source.Span`).

    `span` is None while the error rises through compiled code; the run fills it in from the traceback.
    `notes` are rendered one a line; `stack` is the script's own call stack, innermost first.
    """

    def __init__(
        self, code: str, message: str, *, span: object | None = None, hint: str | None = None, notes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.span = span
        self.hint = hint
        self.notes = notes
        self.stack: tuple[object, ...] = ()


class OperatorError(Exception):
    """A fault in settings, files or a command: `exit_code` is the process's, `hint` one thing to try."""

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


class MailError(Exception):
    """A fault of a peer or of the network. `temporary` says whether a later try may succeed.

    `reply` is a `mail.reply.Reply` where the peer gave one, else None.
    """

    def __init__(self, message: str, *, temporary: bool = True, reply: object | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.temporary = temporary
        self.reply = reply
