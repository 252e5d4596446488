"""The functions of script tests: expectations, whole hooks, the clock, and answers of DNS, scanners and the queue.

In: calls from a `*.test.hsl` file. Out: `TestState`, what the test has come to. Must not know files of tests or output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from http.client import responses
from pathlib import Path
from typing import Any, Literal

from hslpy.builtins.host.options import read_options, text_list, text_map
from hslpy.client.http_contract import HttpResponse
from hslpy.client.http_scripted import ScriptedHttp
from hslpy.client.lookup_contract import Finding, ScriptedLookups
from hslpy.clock import ManualClock
from hslpy.dns.scripted import ScriptedResolver
from hslpy.errors import OperatorError, ScriptError
from hslpy.hooks.table import BY_NAME
from hslpy.lang.conversions import format_number
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.diagnostics import render, suggest
from hslpy.lang.faults import as_script_error
from hslpy.lang.profiles import ALL_NEWEST, ProfileChoice
from hslpy.lang.program import Program
from hslpy.lang.run import LimitExceeded, Run
from hslpy.lang.values import Array, Value, own
from hslpy.mail.attempt import AttemptFacts
from hslpy.mail.reply import Reply
from hslpy.records import dataclass
from hslpy.scan.contract import ClamResult, ScannerFailed, SpamScore
from hslpy.scan.rspamd import CLASSES
from hslpy.scan.scripted import ScriptedClamd, ScriptedRspamd, ScriptedSpamAssassin, of_class
from hslpy.tooling.bench import Bench, services_in_memory
from hslpy.tooling.events import DEFAULT_CONTENT, facts_from_values, make_event
from hslpy.tooling.notation import difference, quoted
from hslpy.tooling.outbox import KeptOutbox, queued_mail, sent_mail
from hslpy.tooling.verdicts import verdict_array

TOPIC = Topic("script tests")
STATE = "script tests"  # where a run's scratch has the TestState

_FAILURES = ("NXDOMAIN", "SERVFAIL", "TRY_AGAIN")


class ExpectationFailed(LimitExceeded):
    """An expectation does not hold. Like a limit it passes every `catch` of the script under test."""

    def __init__(self, message: str, notes: Sequence[str] = ()) -> None:
        super().__init__("R320", message)
        self.notes = tuple(notes)


class FrozenClock(ManualClock):
    """Stands still but for clock_advance() and clock_set(); set back, only the date changes, no interval runs backwards."""

    def set(self, unix: float) -> None:
        ahead = unix - self.time()
        if ahead >= 0:
            self.advance(ahead)
        else:
            self.step(ahead)


@dataclass(slots=True)
class ScriptedQueue:
    """Answers GetMailQueueMetric. A rule without filters answers every question, one with them that very question."""

    rules: list[tuple[dict[str, tuple[str, ...]], float]] = field(default_factory=list)

    def __call__(self, metric: str, filters: Mapping[str, Sequence[str]]) -> float:
        asked = {name: tuple(sorted(values)) for name, values in filters.items()}
        for rule, answer in reversed(self.rules):
            if not rule or rule == asked:
                return answer
        return 0.0


class TestState:
    """One test under way, with a world of its own. `tests` are the names found, in order, with their functions."""

    __test__ = False  # no test of pytest's

    def __init__(
        self,
        file: Path,
        compiled: dict[tuple[str, tuple[Path, ...]], Sequence[Program]],
        profiles: ProfileChoice = ALL_NEWEST,
    ) -> None:
        self.file = file
        self.tests: dict[str, Value] = {}
        self.clock = FrozenClock()
        self.resolver = ScriptedResolver()
        self.spamassassin = ScriptedSpamAssassin(0.0)
        self.rspamd = ScriptedRspamd(0)
        self.clamd = ScriptedClamd(())
        self.queue = ScriptedQueue()
        self.http = ScriptedHttp()
        self.outbox = KeptOutbox()
        self.lookups = ScriptedLookups()
        services = services_in_memory(
            self.clock,
            resolver=self.resolver,
            spamassassin=self.spamassassin,
            rspamd=self.rspamd,
            clamd=self.clamd,
            queue_metric=self.queue,
            http=self.http,
            outbox=self.outbox,
            lookups=self.lookups,
        )
        self.bench = Bench(services, clock=self.clock, profiles=profiles)
        self._compiled = compiled

    def programs(self, hook: str, paths: tuple[Path, ...]) -> Sequence[Program]:
        """Give the compiled scripts of a hook. Raises ScriptError when there are errors in them."""
        known = self._compiled.get((hook, paths))
        if known is None:
            if hook not in BY_NAME:
                hint = suggest(hook, BY_NAME) or f"the hooks are {', '.join(BY_NAME)}"
                raise ScriptError("R321", f"run_hook() knows no hook `{hook}`", hint=hint)
            programs, findings = self.bench.load(paths, hook)
            errors = [finding for finding in findings if finding.is_error]
            if errors:
                notes = tuple(line for error in errors for line in render(error).splitlines())
                raise ScriptError("R321", f"run_hook() wants scripts without errors, found {len(errors)}", notes=notes)
            known = self._compiled[hook, paths] = programs
        return known


def _state(call: Run) -> TestState:
    state: TestState = call.scratch[STATE]
    return state


@TOPIC.builtin("test(name: string, body: function) -> none", effect=Effect.READS)
def test(call: Run, name: str, body: Value) -> None:
    """Declare a test. Each runs on its own: the file's top level anew, then `body`, with a clock that stands still."""
    tests = _state(call).tests
    if name in tests:
        raise ScriptError("R321", f"there are two tests named {quoted(name)}", hint="give each a name of its own")
    tests[name] = body


test.__test__ = False  # type: ignore[attr-defined]  # no test of pytest's


@TOPIC.builtin("expect(actual: any, expected: any, [message: string]) -> none", effect=Effect.PURE)
def expect(actual: Value, expected: Value, message: str = "") -> None:
    """Fail the test unless the two are identical (`===`)."""
    lines = difference(actual, expected)
    if lines:
        raise ExpectationFailed(message or "the value is not the one expected", lines)


@TOPIC.builtin("expect_error(body: function, error: string) -> none", effect=Effect.READS)
def expect_error(call: Run, body: Value, error: str) -> None:
    """Fail the test unless calling `body` ends in a script error with that code (`R103`), or that text in its message."""
    try:
        call.invoke(body)
    except ExpectationFailed:
        raise
    except (Exception, LimitExceeded) as raised:
        assert call.program is not None
        found: Any = as_script_error(call.program, raised)
        if not isinstance(found, (ScriptError, LimitExceeded)):
            raise
        if error != found.code and error not in found.message:
            lines = [f"expected: {error}", f"     got: {found.code} {found.message}"]
            raise ExpectationFailed("the error is not the one expected", lines) from None
        return
    raise ExpectationFailed("an error was expected, and there was none", [f"expected: {error}"])


@TOPIC.builtin(
    "run_hook(hook: string, files: string | array, [facts: array]) -> array",
    effect=Effect.IO,
    examples=['run_hook("rcptto", "../hooks/rcptto.hsl", ["sender" => "a@example.com"])["action"]  // accept'],
)
def run_hook(call: Run, hook: str, files: Value, facts: Array | None = None) -> Array:
    """Run a hook's script, or a list of them in order, and give the verdict.

    Files are found from the test file's folder. `facts` has the hook's classic variables by name and "message", the
    whole message; what is left out gets a plain default. The result has "action", "failed", "error" (the rendered error
    of a script that failed), "echo" (an array), and what the verdict has: "code", "enhanced", "reason", "deliveries",
    "metadata", "sourceip", "host", "port", "helo", "delay" and the like; "queued" and "sent" have the mail that the script
    made itself.
    """
    state = _state(call)
    names = list(files.values()) if files.__class__ is Array else [files]
    if not names or not all(isinstance(name, str) for name in names):
        raise ScriptError("R321", "run_hook() wants a file name or an array of them as `files`")
    given = dict(facts.items) if facts is not None else {}
    message = given.pop("message", None)
    if message is not None and message.__class__ is not str:
        raise ScriptError("R321", "run_hook() wants the whole message as a string in `message`")
    content = DEFAULT_CONTENT if message is None else message.encode("latin-1")
    try:
        programs = state.programs(hook, tuple(state.file.parent / name for name in names))
        plain = {str(name): own(value) if name == "context" else _plain(value) for name, value in given.items()}
        values = facts_from_values(plain)
        event = make_event(hook, values, content, state.clock.time())
    except OperatorError as error:
        raise ScriptError("R321", f"run_hook(): {error.message}", hint=error.hint) from None
    queued, sent = len(state.outbox.queued), len(state.outbox.sent)
    trial = call.wait(state.bench.run_hook(programs, hook, event))
    out = verdict_array(trial.verdict)
    out["echo"] = Array.of(trial.echoes)
    out["context"] = own(event.context.value)
    if len(state.outbox.queued) > queued:
        out["queued"] = Array.of([queued_mail(one) for one in state.outbox.queued[queued:]])
    if len(state.outbox.sent) > sent:
        out["sent"] = Array.of([sent_mail(one) for one in state.outbox.sent[sent:]])
    if trial.error is not None:
        out["error"] = trial.error.encode("utf-8").decode("latin-1")
    return Array.mapping(out)


def _plain(value: Value) -> Any:
    """Give an array as a list or a dict of plain values; numbers in it as text, as metadata and parameters are."""
    if value.__class__ is not Array:
        return value
    texts = {str(k): format_number(v) if v.__class__ is float else v for k, v in value.items.items()}
    return list(texts.values()) if list(value.items) == list(range(len(texts))) else texts


@TOPIC.builtin("clock_advance(seconds: number) -> none", effect=Effect.READS)
def clock_advance(call: Run, seconds: float) -> None:
    """Move the time on, for the test and all it runs."""
    if not 0 <= seconds < 1e12:
        raise ScriptError("R108", f"clock_advance() wants `seconds` of at least 0, got {format_number(seconds)}")
    _state(call).clock.advance(seconds)


@TOPIC.builtin("clock_set(time: number) -> none", effect=Effect.READS)
def clock_set(call: Run, time: float) -> None:
    """Set the time, in Unix seconds. Set ahead, as much passes for intervals; set back, only the date changes."""
    if not 0 <= time < 1e12:
        raise ScriptError("R108", f"clock_set() wants Unix seconds as `time`, got {format_number(time)}")
    _state(call).clock.set(time)


@TOPIC.builtin("scanner_answer(scanner: string, answer: number | string | array) -> none", effect=Effect.READS)
def scanner_answer(call: Run, scanner: str, answer: Value) -> None:
    """Say what a scanner finds from now on: "spamassassin" a score, or an array of rules with their scores;
    "rspamd" a class (0, 10, 40, 50 or 100); "clamd" a list of names; each "fail". Before, they find nothing.
    """
    state = _state(call)
    failure = ScannerFailed("the test says that it fails")
    if answer.__class__ is str and answer != "fail":
        raise ScriptError("R321", f'scanner_answer() wants a number or "fail" as `answer`, got {quoted(answer)}')
    if scanner == "spamassassin":
        state.spamassassin.then(failure if answer == "fail" else _spam_score(answer))
    elif scanner == "rspamd":
        if answer != "fail" and answer not in CLASSES:
            raise ScriptError("R321", "scanner_answer() wants class 0, 10, 40, 50 or 100 of rspamd")
        state.rspamd.then(failure if answer == "fail" else of_class(int(answer)))
    elif scanner == "clamd":
        if answer != "fail" and answer.__class__ is not Array:
            raise ScriptError("R321", "scanner_answer() wants a list of names of clamd")
        state.clamd.then(failure if answer == "fail" else ClamResult(text_list("scanner_answer()", answer)))
    else:
        hint = suggest(scanner, ("spamassassin", "rspamd", "clamd"))
        raise ScriptError("R321", f"scanner_answer() knows no scanner {quoted(scanner)}", hint=hint)


def _spam_score(answer: Value) -> SpamScore:
    if answer.__class__ is float:
        return SpamScore(answer)
    rules = {str(name): score for name, score in answer.items.items()}
    if not all(score.__class__ is float for score in rules.values()):
        raise ScriptError("R321", "scanner_answer() wants rules with numbers as their scores")
    return SpamScore(sum(rules.values()), rules)


@TOPIC.builtin("dns_answer(name: string, type: string, answer: array | string) -> none", effect=Effect.READS)
def dns_answer(call: Run, name: str, type_: str, answer: Value) -> None:
    """Say what DNS has of `type` ("A", "MX", "TXT" and so on) at `name`: an array of texts, for MX also of
    [preference, name]; or "NXDOMAIN", "SERVFAIL", "TRY_AGAIN". All other names do not exist.
    """
    resolver = _state(call).resolver
    if answer.__class__ is str:
        if answer not in _FAILURES:
            raise ScriptError("R321", f"dns_answer() wants an array, or one of {', '.join(_FAILURES)}")
        if answer == "NXDOMAIN":
            resolver.remove(name)
        else:
            resolver.set(name, type_, answer)
        return
    records = [_plain(record) for record in answer.values()]
    if type_.upper() == "MX":
        pairs = [record if isinstance(record, list) else (0, record) for record in records]
        if not all(len(pair) == 2 and str(pair[0]).isdecimal() and isinstance(pair[1], str) for pair in pairs):
            raise ScriptError("R321", "dns_answer() wants names, or [preference, name], for MX")
        resolver.set(name, "MX", [(int(preference), exchange) for preference, exchange in pairs])
        return
    if not all(isinstance(record, str) for record in records):
        raise ScriptError("R321", f"dns_answer() wants strings as records of type {type_}")
    resolver.set(name, type_, records)


@TOPIC.builtin("http_answer(url: string, answer: string | number | array | none) -> none", effect=Effect.READS)
def http_answer(call: Run, url: str, answer: Value) -> None:
    """Say what http() gets from now on for a URL, in which `*` and `?` match: a text (with status 200), a status, an array
    of "status", "content" and "headers" (by name), or none for a request that fails. Before, every request fails.
    """
    if answer.__class__ is str:
        answer = Array.mapping({"content": answer})
    elif answer.__class__ is float:
        answer = Array.mapping({"status": answer})
    response = None
    if answer is not None:
        given = read_options("http_answer", answer, {"status": ("number",), "content": ("string",), "headers": ("array",)})
        status = given.get("status", 200.0)
        if not 100 <= status <= 599 or status != int(status):
            raise ScriptError("R321", f"http_answer() wants a status from 100 to 599, got {format_number(status)}")
        headers = text_map("`headers` of http_answer()", given["headers"]) if "headers" in given else {}
        content = given.get("content", "").encode("latin-1")
        response = HttpResponse(int(status), content, tuple(headers.items()), responses.get(int(status), ""))
    _state(call).http.answer(url, response)


@TOPIC.builtin("http_requests() -> array", effect=Effect.READS)
def http_requests(call: Run) -> Array:
    """Give the requests that http() made so far, in order: "method", "url", "headers" (texts), "body", "background"."""
    return Array.of(
        [
            Array.mapping(
                {
                    "method": seen.request.method,
                    "url": seen.request.url,
                    "headers": Array.of([f"{name}: {value}" for name, value in seen.request.headers]),
                    "body": seen.body.decode("latin-1"),
                    "background": seen.background,
                }
            )
            for seen in _state(call).http.requests
        ]
    )


@TOPIC.builtin("send_answer(code: number, reason: string) -> none", effect=Effect.READS)
def send_answer(call: Run, code: float, reason: str) -> None:
    """Say what servers answer to mail that scripts send at once; before, there is no connection.

    A code is that of the reply to the message; 0 is trouble in the network.
    """
    if code != int(code) or (code and not 200 <= code <= 599):
        raise ScriptError("R321", f"send_answer() wants a code from 200 to 599, or 0, got {format_number(code)}")
    state = _state(call)
    if not code:
        state.outbox.answer = AttemptFacts(0.0, error=reason)
    else:
        enhanced = (int(code) // 100, 0, 0)
        state.outbox.answer = AttemptFacts(0.0, code=int(code), enhanced=enhanced, reason=(reason,), state="EOD")


_LOOKUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "smtp_lookup_rcpt": {"error_code": ("number",), "error_message": ("string",), "on_rcptto": ("boolean",)},
    "smtp_lookup_auth": {},
    "ident_lookup": {"os": ("string",), "username": ("string",), "error": ("string",)},
    "dovecot_lookup_auth": {},
    "radius_authen": {},
    "tacplus_authen": {},
    "tacplus_author": {},
    "minger_lookup": {},
}


@TOPIC.builtin("lookup_answer(function: string, answer: number | array) -> none", effect=Effect.READS)
def lookup_answer(call: Run, function: str, answer: Value) -> None:
    """Say what a look-up finds from now on: 1, 0 or -1; of smtp_lookup_rcpt() also the array of its extended result, of
    ident_lookup() and tacplus_author() an array, of minger_lookup() the status. Before, every look-up gives -1 or none.
    """
    if function not in _LOOKUPS:
        hint = suggest(function, _LOOKUPS)
        raise ScriptError("R321", f"lookup_answer() knows no look-up {quoted(function)}", hint=hint)
    if answer.__class__ is float:
        if function == "minger_lookup" and answer >= 0:
            finding = Finding(1, number=int(answer))
        elif answer in (1.0, 0.0, -1.0) and (function != "ident_lookup" or answer < 0):
            reply = None if answer < 0 else Reply(250 if answer else 550, None, ("the test says so",))
            finding = Finding(1 if answer > 0 else 0 if answer == 0 else -1, "the test says so", reply, "RCPT")
        else:
            raise ScriptError("R321", f"lookup_answer() wants 1, 0 or -1, got {format_number(answer)}")
    elif function == "tacplus_author":
        finding = Finding(1, values=tuple(("", text) for text in text_list("lookup_answer()", answer)))
    else:
        given = read_options(f"lookup_answer() of {function}", answer, _LOOKUPS[function])
        if function == "ident_lookup":
            finding = Finding(1, values=tuple(given.items()))
        else:
            code = int(given.get("error_code", 0.0))
            known = Reply(code, None, (given.get("error_message", ""),)) if code else None
            state = "RCPT" if given.get("on_rcptto", True) else "MAIL"
            decided: Literal[1, 0, -1] = -1 if known is None else 1 if 200 <= code <= 299 else 0
            finding = Finding(decided, given.get("error_message", ""), known, state)
    _state(call).lookups.findings[function] = finding


@TOPIC.builtin("queue_answer(filter: array, number: number) -> none", effect=Effect.READS)
def queue_answer(call: Run, filter: Array, number: float) -> None:
    """Say what GetMailQueueMetric gives when asked with that very filter; with `[]`, whatever it is asked. Before: 0."""
    rule: dict[str, tuple[str, ...]] = {}
    for name, value in filter.items.items():
        values = value.values() if value.__class__ is Array else (value,)
        rule[str(name)] = tuple(sorted(format_number(v) if v.__class__ is float else str(v) for v in values))
    _state(call).queue.rules.append((rule, number))


__all__ = ["STATE", "TOPIC", "ExpectationFailed", "TestState"]
