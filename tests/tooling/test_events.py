"""Made-up events: every hook can be had with nothing, and facts are checked."""

from __future__ import annotations

import pytest

from hslpy.errors import OperatorError
from hslpy.hooks.facts import DataEvent, PostDeliveryEvent, PreDeliveryEvent, RcptToEvent
from hslpy.hooks.table import BY_NAME
from hslpy.tooling.events import FACTS, facts_from_texts, facts_from_values, make_event


@pytest.mark.parametrize("hook", list(BY_NAME))
def test_every_hook_has_an_event_of_defaults(hook: str) -> None:
    assert make_event(hook, {}) is not None


def test_every_fact_has_a_default_of_its_kind() -> None:
    kinds = {"text": str, "number": int | float, "boolean": bool, "texts": list, "table": dict}
    for fact in FACTS:
        assert fact.default is None or isinstance(fact.default, kinds[fact.kind]), fact.name


def test_a_domain_alone_makes_an_address() -> None:
    event = make_event("rcptto", {"senderdomain": "a.example", "recipientdomain": "b.example"})
    assert isinstance(event, RcptToEvent)
    assert (event.transaction.sender.domain, event.recipient.address.domain) == ("a.example", "b.example")


def test_the_null_sender() -> None:
    event = make_event("predelivery", {"sender": ""})
    assert isinstance(event, PreDeliveryEvent) and str(event.message.sender) == ""


def test_texts_become_values() -> None:
    given = facts_from_texts({"errorcode": "550", "metadata": "a=b,c=d", "recipients": "a@b.example,c@d.example"})
    assert given == {"errorcode": 550.0, "metadata": {"a": "b", "c": "d"}, "recipients": ["a@b.example", "c@d.example"]}
    event = make_event("data", given)
    assert isinstance(event, DataEvent) and len(event.transaction.recipients) == 2


@pytest.mark.parametrize(("code", "action"), [("550", "BOUNCE"), ("450", "QUEUE"), ("0", "QUEUE"), ("250", None)])
def test_the_action_follows_the_code(code: str, action: str | None) -> None:
    event = make_event("postdelivery", facts_from_texts({"errorcode": code}))
    assert isinstance(event, PostDeliveryEvent) and event.action == action


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sendr": "x"}, "unknown fact `sendr`"),
        ({"retry": "many"}, "`retry` wants a number"),
        ({"tlsstarted": "yes"}, "`tlsstarted` wants true or false"),
    ],
)
def test_bad_texts(given: dict[str, str], message: str) -> None:
    with pytest.raises(OperatorError, match=message):
        facts_from_texts(given)


def test_bad_values() -> None:
    with pytest.raises(OperatorError, match="`retry` wants a number"):
        facts_from_values({"retry": "1"})
    with pytest.raises(OperatorError, match="`metadata` wants an array of strings by name"):
        facts_from_values({"metadata": {"a": 1.0}})


def test_bad_addresses_and_hooks() -> None:
    with pytest.raises(OperatorError, match="`sender` wants an address"):
        make_event("mailfrom", {"sender": "a b"})
    with pytest.raises(OperatorError, match="there is no hook `rcpto`"):
        make_event("rcpto", {})
