"""When a recipient is tried again. In: the times and number of attempts, the schedule. Out: a time, or that it is over.

Pure decisions: no clock, no store, no randomness of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

from hslpy.errors import OperatorError
from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """The waits between attempts: `wait_s` after the first, `factor` times as long after each, at most `ceiling_s`.

    Each wait is stretched or shortened by up to the share `jitter`, so that what failed together is not retried
    together. A recipient is given up `lifetime_s` after its first attempt, a bounce after `bounce_lifetime_s`.
    With the defaults attempts follow at 5, 15, 35, 75, 155, 315 minutes, then each 4 hours for 5 days.

    Source: RFC 5321 4.5.4.1 wants 30 minutes between later attempts and 4 to 5 days; the first retry comes in minutes,
    for greylisting; a bounce that nobody takes for a day is worth no more.
    """

    wait_s: float = 300.0
    factor: float = 2.0
    ceiling_s: float = 4 * 3600.0
    jitter: float = 0.1
    lifetime_s: float = 5 * 86400.0
    bounce_lifetime_s: float = 86400.0

    def __post_init__(self) -> None:
        if self.wait_s <= 0 or self.ceiling_s < self.wait_s:
            raise OperatorError("queue.schedule: wait_s must be above 0, and ceiling_s not below it")
        if self.factor < 1 or not 0 <= self.jitter < 1:
            raise OperatorError("queue.schedule: factor must be at least 1, and jitter at least 0 and below 1")
        if self.lifetime_s <= 0 or self.bounce_lifetime_s <= 0:
            raise OperatorError("queue.schedule: lifetime_s and bounce_lifetime_s must be above 0")


class QueueExpired(Exception):
    """The next attempt would lie past the recipient's lifetime."""


def wait_after(tries: int, schedule: RetrySchedule, roll: float = 0.5) -> float:
    """Give the wait after attempt number `tries` (from 1), in seconds. `roll` from 0 to 1 places it within the jitter."""
    wait = schedule.wait_s
    # a power would overflow for the many tries that a script may ask for
    for _ in range(max(tries, 1) - 1):
        if wait >= schedule.ceiling_s or schedule.factor == 1:
            break
        wait *= schedule.factor
    return min(wait, schedule.ceiling_s) * (1 + schedule.jitter * (2 * roll - 1))


def next_attempt_at(
    first: float, last: float, tries: int, schedule: RetrySchedule, roll: float = 0.5, *, bounce: bool = False
) -> float:
    """Give the time of the next delivery attempt, in Unix seconds.

    `first` and `last` are the times of the first and the latest attempt, `tries` how many were charged (at least 1 is
    reckoned), `roll` a random number from 0 to 1. `bounce` says that the sender is null.

    Raises QueueExpired when the result lies past the lifetime after `first`.
    """
    at = last + wait_after(tries, schedule, roll)
    if at > first + (schedule.bounce_lifetime_s if bounce else schedule.lifetime_s):
        raise QueueExpired
    return at


def due_by_the_clock(due_at: float, latest: float, now: float) -> float:
    """Give when something is due of which the `latest` record is from that time; it lies ahead where the clock was set back.

    The wait from then on is kept: an hour's is an hour's, though the clock was years ahead when it began.
    """
    return due_at - max(latest - now, 0.0)


def most_retries(schedule: RetrySchedule, *, bounce: bool = False) -> int:
    """Give how many retries the schedule has room for after the first attempt, were each attempt to take no time."""
    left = schedule.bounce_lifetime_s if bounce else schedule.lifetime_s
    retries = 0
    wait = schedule.wait_s
    while wait < schedule.ceiling_s and schedule.factor > 1 and wait <= left:
        retries, left, wait = retries + 1, left - wait, min(wait * schedule.factor, schedule.ceiling_s)
    return retries + int(max(left, 0.0) // wait)


def spread_over(overdue: Sequence[float], now: float, window_s: float, rolls: Sequence[float]) -> list[float]:
    """Give new due times for what fell due while we were down: within the window from `now`, in the same order.

    `overdue` is sorted; each gets a place in its own equal part of the window, where its roll (0 to 1) says.
    """
    step = window_s / len(overdue) if overdue else 0.0
    return [now + (number + roll) * step for number, roll in enumerate(rolls)]


def passed(first: float, last: float, now: float, ages: Sequence[float]) -> bool:
    """Say whether one of the `ages` (seconds since `first`) was reached after `last` and by `now`.

    `first` and `last` are the times of the first and the latest attempt, 0.0 before the first.
    """
    return bool(last) and any(last - first < age <= now - first for age in ages)
