"""What a domain wants done with mail that is not its own. In: TXT records. Out: `Policy`. No I/O. Source: RFC 7489."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from hslpy.mail.dkim import tag_list
from hslpy.records import dataclass

Action = Literal["none", "quarantine", "reject"]
ACTIONS: tuple[Action, ...] = ("none", "quarantine", "reject")


@dataclass(frozen=True, slots=True)
class Policy:
    """`action` is the domain's, `subdomain_action` that of names below it; `percent` of the failing mail gets it."""

    action: Action
    subdomain_action: Action
    strict_spf: bool = False
    strict_dkim: bool = False
    percent: float = 100.0


def read_policy(records: Iterable[str]) -> Policy | None:
    """Give the policy of the one record that is DMARC's; None when there is none, or several. Source: section 6.6.3."""
    found = [tags for tags in map(tag_list, records) if tags and next(iter(tags)) == "v" and tags["v"] == "DMARC1"]
    if len(found) != 1:
        return None
    tags = {name.lower(): value for name, value in found[0].items()}
    actions: list[Action] = []
    for text in (tags.get("p", ""), tags.get("sp", tags.get("p", ""))):
        action = next((one for one in ACTIONS if one == text.lower()), None)
        if action is None and not tags.get("rua"):
            return None
        actions.append(action or "none")
    percent = tags.get("pct", "100")
    return Policy(
        action=actions[0],
        subdomain_action=actions[1],
        strict_spf=tags.get("aspf", "r").lower() == "s",
        strict_dkim=tags.get("adkim", "r").lower() == "s",
        percent=min(100.0, float(percent)) if percent.isascii() and percent.isdigit() else 100.0,
    )


def sampled(action: Action, policy: Policy, dice: float) -> Action:
    """Give the action for a message that fails, `dice` being from 0 up to 100: the next milder one beyond `percent`.

    Source: section 6.6.4.
    """
    if dice < policy.percent:
        return action
    return ACTIONS[max(0, ACTIONS.index(action) - 1)]
