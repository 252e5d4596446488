"""What requests to the web application work on: the database, and this node's parts that do what a request asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from pathlib import Path

from hslpy.admin.sign_ins import SignIns
from hslpy.clock import Clock
from hslpy.dns.contract import Resolver
from hslpy.egress.checks.checkup import Checker
from hslpy.egress.reputation.checker import ReputationChecker
from hslpy.egress.store.database import Database
from hslpy.egress.store.faults import Trouble
from hslpy.log import Log
from hslpy.records import record


@record
class Site:
    """One node's web application. `node` is its host name, `control` the mail server's control socket. `url` is
    where the request at hand has found us.

    With `allow_loopback` mail may leave from addresses of the loopback network. `trouble` says why the database takes no
    changes. `sign_ins` has those that failed. Without a resolver nothing is compared with DNS; without `checker` and
    `reputation` no checks can be run.
    """

    database: Database
    clock: Clock
    log: Log
    node: str = ""
    resolver: Resolver | None = None
    checker: Checker | None = None
    reputation: ReputationChecker | None = None
    control: Path | None = None
    url: str = ""
    allow_loopback: bool = False
    trouble: Callable[[], Trouble | None] = lambda: None
    sign_ins: SignIns = field(default_factory=SignIns, hash=False)
