"""How mail is sent on: transports and limits. In: nothing. Out: the dataclasses that `config` fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from hslpy.client.contract import Timeouts
from hslpy.errors import OperatorError
from hslpy.mail.address import parse_address
from hslpy.mail.dsn import FULL_MAX_BYTES
from hslpy.mail.verdict import TlsMode
from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class Transport:
    """A named delivery profile; a queued recipient names it by `id` (`mailtransport:1`).

    `next_hop` is the host or IP that takes all its mail, None for the recipient domain's MX. `sources` are ids of
    configured sources, the server's default ones where empty; `helo` is the name where a source has none. A login is
    sent under TLS only, unless `tls` is `disabled`. `destination_connections` None takes the server's.
    """

    id: str
    next_hop: str | None = None
    port: int = 25
    protocol: Literal["smtp", "lmtp"] = "smtp"
    sources: tuple[str, ...] = ()
    helo: str = ""
    tls: TlsMode = "optional"
    tls_names: tuple[str, ...] = ()
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    destination_connections: int | None = None
    allow_private_targets: bool | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """`helo` is the name where a source has none; `sources` the default ids, the system's choice where empty.

    `attempts` bounds what is under way at once, `attempt_s` the time of one (see `Client.send`); those that have lasted
    for `slow_after_s` go on beside them, `slow_attempts` at most, so that hosts that are slow to answer do not hold up
    the others. `destination_connections` the attempts to one next hop or recipient domain (10: KumoMTA's shaping table),
    `parked` what waits in memory for a slot of its destination, each. `target_addresses` is how many addresses one
    attempt tries (Postfix: 5), `recipients_per_transaction` how many recipients of a message share one (RFC 5321
    4.5.3.1.8: a host takes 100). `source_suspension_s` is how long a source that cannot be bound is left out, `wait_s`
    how long a recipient waits, uncharged, for something of ours to be put right. Reports go by `report_transport_id`, by
    the failed recipient's own transport where that is empty; they are from `report_from`, MAILER-DAEMON where empty, and
    have the whole message up to `report_full_max_bytes`. `content_memory_bytes` bounds the contents of large messages under
    way (see `Room`).
    """

    helo: str
    transports: Mapping[str, Transport] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    attempts: int = 200
    attempt_s: float = 900.0
    slow_attempts: int = 400
    slow_after_s: float = 10.0
    destination_connections: int = 10
    parked: int = 200
    content_memory_bytes: int = 256 << 20
    target_addresses: int = 5
    recipients_per_transaction: int = 100
    prefer_family: Literal[4, 6] = 4
    allow_private_targets: bool = False
    source_suspension_s: float = 600.0
    wait_s: float = 300.0
    report_transport_id: str = ""
    report_from: str = ""
    report_from_name: str = "Mail Delivery System"
    report_full_max_bytes: int = FULL_MAX_BYTES

    def __post_init__(self) -> None:
        author = parse_address(self.report_from)
        if author is None or (self.report_from and not author.domain):
            wrong = f"`delivery.report_from` is no address: {self.report_from}"
            raise OperatorError(wrong, hint="write it as in postmaster@example.com")
