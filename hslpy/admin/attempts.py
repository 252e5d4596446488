"""How often somebody may try: failures counted by key, in memory. In: keys, times. Out: whether to go on.

Source: OWASP's Authentication Cheat Sheet; the numbers are ours.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from threading import Lock

WINDOW_S = 600.0
MOST_KEYS = 10_000


class Attempts:
    """At most `most` failures of a key within `window_s` seconds. The key least lately seen is forgotten for a new one."""

    def __init__(self, most: int, window_s: float = WINDOW_S) -> None:
        self._most = most
        self._window_s = window_s
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = Lock()

    def wait_s(self, keys: Iterable[str], now: float) -> float:
        """Give for how long no more attempt is let through for any of these keys; 0 where one may be made."""
        with self._lock:
            return max((self._of(key, now) for key in keys), default=0.0)

    def failed(self, keys: Iterable[str], now: float) -> None:
        with self._lock:
            for key in keys:
                self._failures.setdefault(key, deque(maxlen=self._most)).append(now)
                self._failures.move_to_end(key)
            while len(self._failures) > MOST_KEYS:
                self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        with self._lock:
            self._failures.pop(key, None)

    def _of(self, key: str, now: float) -> float:
        failures = self._failures.get(key)
        if failures is None or len(failures) < self._most:
            return 0.0
        return max(0.0, failures[0] + self._window_s - now)
