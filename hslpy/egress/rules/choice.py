"""Which address a message leaves from by the settings. In: a picture of them, the sender, what can be used. Out: a decision.

Plain functions; time, counters and chance are arguments. Source: section C of the specification of delivery IPs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Literal

from xxhash import xxh3_64_intdigest

from hslpy.egress.rules.book import PRIMARY, Book, Family, Node, Scope, Sender, Setting
from hslpy.records import record

Kind = Literal["address", "primary", "automatic", "disabled", "hold"]


@record
class Availability:
    """What is to be known of an address that is not simply there to be used.

    `reason` is empty for one that may. `warming`: it is for want of a window or of allowance, or `stopped`, and then not to
    be used whatever else there is; `again_at` (Unix seconds) is when that ends, infinite where it is not known. `weight` is
    its share beside others: 1 for a warm one.
    """

    reason: str = ""
    warming: bool = False
    again_at: float = math.inf
    weight: float = 1.0
    stopped: bool = False


USABLE = Availability()


@record
class Look:
    """One candidate and what was found of it: empty for one that can be used."""

    address: str
    finding: str = ""


@record
class Rung:
    """One level of the search: its setting, None where there is none, and what came of it. `decides`: it was the last."""

    scope: Scope
    setting: Setting | None
    finding: str
    looks: tuple[Look, ...] = ()
    decides: bool = True


@record
class Policies:
    """What the site has set. Source: C1, C2, C4 and D5.

    `missing_family`: what a winning setting without addresses of a family means for it. `overflow`: where mail goes when
    all addresses of a setting are warming and none has room. `pool`: `sticky` keeps a sender's domain on one address.
    """

    missing_family: Literal["auto", "inherit"] = "auto"
    auto_ipv6: Literal["any", "primary"] = "any"
    overflow: Literal["next_level", "hold", "ignore"] = "next_level"
    pool: Literal["random", "sticky"] = "random"
    max_warming_share: float = 0.25


@record
class Decision:
    """`address` is what to bind, empty where the system chooses (`automatic` for IPv6) or nothing may be sent.

    `fell_back`: the setting that won could not be followed. `ladder` has each level looked at, in order; `again_at`, with
    `hold`, is when to look again (Unix seconds, infinite where it is not known). A hold of a strict setting is `strict`.
    """

    kind: Kind
    address: str
    ladder: tuple[Rung, ...]
    fell_back: bool = False
    again_at: float = math.inf
    strict: bool = False

    @property
    def reason(self) -> str:
        """The last finding, with its level, in one line."""
        return f"{self.ladder[-1].scope}: {self.ladder[-1].finding}" if self.ladder else "nothing is set"


def choose(
    book: Book,
    node: str,
    sender: Sender,
    family: Family,
    key: bytes,
    exceptions: Mapping[str, Availability],
    policies: Policies,
    avoid: Collection[str] = (),
    kept: str = "",
    patient: bool = False,
) -> Decision:
    """Give what a message of this sender leaves from, towards a target of this family.

    `key` is the message's: the same key falls on the same address each time, as long as that can be used, and keys fall
    evenly on those of a pool. `exceptions` has the addresses that cannot be used now, or not wholly; all others can.
    `avoid` are addresses that were refused this message; they are taken when there is no other. `kept` is the address that
    it was tried from before: it stays while it can be used, and a `patient` message waits for one that is only warming up.
    """
    here = book.nodes.get(node, Node(node))
    ladder: list[Rung] = []
    fell_back = False
    for scope in book.scopes(sender):
        setting = book.setting(scope, node)
        if setting is None:
            ladder.append(Rung(scope, None, "nothing is set", decides=False))
            continue
        if family == 4 and setting.ipv4_disabled:
            ladder.append(Rung(scope, setting, "delivery over IPv4 is disabled"))
            return Decision("disabled", "", tuple(ladder), fell_back)
        addresses = setting.addresses(family)
        if not addresses:
            if policies.missing_family == "inherit":
                finding = f"has no IPv{family} address: the next level decides"
                ladder.append(Rung(scope, setting, finding, decides=False))
                continue
            ladder.append(Rung(scope, setting, f"has no IPv{family} address: automatic"))
            return _automatic(here, family, policies, ladder, fell_back)
        if addresses == (PRIMARY[family],):
            ladder.append(Rung(scope, setting, "the primary address"))
            return Decision("primary", here.primary(family), tuple(ladder), fell_back)
        spread = _spread(sender, key, policies)
        if not avoid and exceptions.keys().isdisjoint(addresses):
            address = kept if kept in addresses else pick(addresses, spread)
            ladder.append(Rung(scope, setting, f"chose {address}"))
            return Decision("address", address, tuple(ladder), fell_back)
        found = {address: exceptions.get(address, USABLE) for address in addresses}
        looks = tuple(Look(address, one.reason) for address, one in found.items())
        usable = {address: one.weight for address, one in found.items() if not one.reason}
        if patient and kept in found and kept not in usable and found[kept].warming and kept not in avoid:
            ladder.append(Rung(scope, setting, f"waits for {kept}, which it was tried from", looks))
            return Decision("hold", "", tuple(ladder), fell_back, found[kept].again_at)
        if usable:
            if kept in usable and kept not in avoid:
                address = kept
            else:
                address = pick_weighted(usable, spread, avoid, policies.max_warming_share)
            ladder.append(Rung(scope, setting, f"chose {address}", looks))
            return Decision("address", address, tuple(ladder), fell_back)
        warming = [address for address, one in found.items() if one.warming]
        going = [address for address in warming if not found[address].stopped]
        if going and policies.overflow == "ignore":
            address = pick(tuple(going), spread)
            ladder.append(Rung(scope, setting, f"chose {address} though it is warming", looks))
            return Decision("address", address, tuple(ladder), fell_back)
        if setting.strict or (warming and policies.overflow == "hold"):
            ladder.append(Rung(scope, setting, "no address can be used: the mail waits", looks))
            again_at = min(one.again_at for one in found.values())
            return Decision("hold", "", tuple(ladder), fell_back, again_at, setting.strict and not warming)
        ladder.append(Rung(scope, setting, "no address can be used: the next level decides", looks, decides=False))
        fell_back = True
    return _automatic(here, family, policies, ladder, fell_back)


def meant(decision: Decision, family: Family, sender: Sender, key: bytes, policies: Policies) -> str:
    """Give the address that a message would leave from if all could be used, by the setting that won; empty for none."""
    for rung in decision.ladder:
        addresses = rung.setting.addresses(family) if rung.setting is not None else ()
        if addresses:
            return "" if addresses == (PRIMARY[family],) else pick(addresses, _spread(sender, key, policies))
    return ""


def _spread(sender: Sender, key: bytes, policies: Policies) -> bytes:
    return sender.domain.encode() if policies.pool == "sticky" else key


def pick(addresses: tuple[str, ...], key: bytes) -> str:
    """Give the address that the key falls on: evenly, and the same one while others come and go.

    Source: highest random weight (Thaler and Ravishankar, 1998).
    """
    if len(addresses) == 1:
        return addresses[0]
    scores = [xxh3_64_intdigest(key, seed) for seed in _seeds(addresses)]
    return addresses[scores.index(max(scores))]


def pick_weighted(weights: Mapping[str, float], key: bytes, avoid: Iterable[str], max_warming_share: float) -> str:
    """Give the address that the key falls on by weight; where all weigh the same it is the one that `pick` gives.

    Those of a weight below 1 are warming: beside others they have at most `max_warming_share` of the keys together.
    """
    avoided = set(avoid)
    left = {address: weight for address, weight in weights.items() if address not in avoided} or dict(weights)
    warm = sum(weight >= 1 for weight in left.values())
    warming = sum(weight for weight in left.values() if weight < 1)
    if warm and warming > max_warming_share * (warm + warming):
        scale = max_warming_share * warm / ((1 - max_warming_share) * warming)
        left = {address: weight if weight >= 1 else weight * scale for address, weight in left.items()}

    def score(address: str) -> float:
        chance = ((xxh3_64_intdigest(key, _seed(address)) >> 12) + 0.5) / 2**52  # never 0 or 1
        return -left[address] / math.log(chance)

    return max(left, key=score)


@lru_cache(maxsize=4096)
def _seeds(addresses: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(_seed(address) for address in addresses)


def _seed(address: str) -> int:
    return xxh3_64_intdigest(address.encode())


def _automatic(here: Node, family: Family, policies: Policies, ladder: list[Rung], fell_back: bool) -> Decision:
    """The primary address for IPv4; for IPv6 any that the system takes, unless the site wants the primary."""
    bound = here.primary(family) if family == 4 or policies.auto_ipv6 == "primary" else ""
    return Decision("automatic", bound, tuple(ladder), fell_back)
