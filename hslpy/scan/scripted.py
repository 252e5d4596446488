"""Scanners for tests of scripts. In: the answers, in order. Out: those answers; the requests seen stay in `requests`.

The last answer is given for every further call. An exception in place of an answer is raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from hslpy.scan.contract import ClamResult, RspamdResult, ScannerFailed, ScanRequest, SpamScore

Answer = TypeVar("Answer")


class _Scripted(Generic[Answer]):
    def __init__(self, answers: Sequence[Answer | ScannerFailed]) -> None:
        self.requests: list[ScanRequest] = []
        self._answers = list(answers)

    def then(self, *answers: Answer | ScannerFailed) -> None:
        """Answer so from now on; what was not yet given is forgotten."""
        self._answers = list(answers)

    async def scan(self, request: ScanRequest) -> Answer:
        self.requests.append(request)
        if not self._answers:
            raise ScannerFailed("no answer is scripted for this scanner")
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, ScannerFailed):
            raise answer
        return answer

    async def close(self) -> None:
        """Nothing is open."""


class ScriptedSpamAssassin(_Scripted[SpamScore]):
    """Answers with numbers (a score, no rules) or whole `SpamScore`s."""

    def __init__(self, *answers: float | SpamScore | ScannerFailed) -> None:
        super().__init__([SpamScore(float(a)) if isinstance(a, int | float) else a for a in answers])


class ScriptedRspamd(_Scripted[RspamdResult]):
    """Answers with numbers (a spam class) or whole `RspamdResult`s."""

    def __init__(self, *answers: int | RspamdResult | ScannerFailed) -> None:
        super().__init__([of_class(a) if isinstance(a, int) else a for a in answers])


class ScriptedClamd(_Scripted[ClamResult]):
    """Answers with lists of names."""

    def __init__(self, *answers: Sequence[str] | ScannerFailed) -> None:
        super().__init__([a if isinstance(a, ScannerFailed) else ClamResult(tuple(a)) for a in answers])


def of_class(spam_class: int) -> RspamdResult:
    """Give a result of that class, with an action and a score that fit it."""
    action, score = {0: ("no action", 0.0), 10: ("greylist", 4.0), 100: ("reject", 15.0)}.get(
        spam_class, ("add header", 6.0)
    )
    return RspamdResult(score, 15.0, action, spam_class)
