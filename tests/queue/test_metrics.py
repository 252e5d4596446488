"""Counts by any set of fields are those of a recount, and cost a look-up."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from hslpy.mail.address import NULL_SENDER, Address
from hslpy.queue.entries import FIELDS, compact, field_key, wanted_value
from hslpy.queue.index import Index
from hslpy.queue.metrics import QueueMetrics
from hslpy.spool.contract import QueuedRecipient


def entry(queue_id: int, **fields: object) -> QueuedRecipient:
    values: dict[str, object] = {
        "queue_id": queue_id,
        "message_id": queue_id,
        "transaction_id": f"t{queue_id}",
        "received_at": 1.0,
        "sender": Address("alice", "example.org"),
        "recipient": Address("bob", "example.net"),
        "transport_id": "mailtransport:1",
        "due_at": 1.0,
        "size_bytes": 100,
        **fields,
    }
    return QueuedRecipient(**values)  # type: ignore[arg-type]


def recount(entries: Sequence[QueuedRecipient], metric: str, filters: Mapping[str, Sequence[str]]) -> float:
    matching = [
        one
        for one in entries
        if one.quarantine_id is None
        and all(field_key(name)(one) in {wanted_value(name, value) for value in values} for name, values in filters.items())
    ]
    return float(len(matching) if metric == "count" else sum(one.size_bytes for one in matching))


def test_each_field_counts() -> None:
    one = entry(
        1,
        remote_ip="192.0.2.1",
        sasl_username="user",
        job_id="job",
        tenant_id="tenant",
        server_id="mailserver:1",
        retries=3,
        metadata={"customer": "7"},
        sender=Address("Alice", "Example.ORG"),
    )
    metrics = QueueMetrics(lambda: [one, two])
    two = entry(2, sender=NULL_SENDER, size_bytes=50)
    metrics.add(one)
    metrics.add(two)
    right = {
        "senderip": "192.0.2.1",
        "saslusername": "user",
        "sender": "Alice@EXAMPLE.org",
        "senderdomain": "exAMple.org",
        "recipient": "bob@example.NET",
        "recipientdomain": "example.net",
        "transportid": "mailtransport:1",
        "retry": "3",
        "jobid": "job",
        "serverid": "mailserver:1",
        "tenantid": "tenant",
        "metadata.customer": "7",
    }
    assert set(right) == {*FIELDS, "metadata.customer"}
    both = {"recipient", "recipientdomain", "transportid"}
    for name, value in right.items():
        assert metrics.metric("count", {name: [value]}) == (2 if name in both else 1), name
        assert metrics.metric("count", {name: ["other"]}) == 0
        assert metrics.metric("count", {name: []}) == 0
    assert metrics.metric("bytes", {"senderdomain": [""]}) == 50
    assert metrics.metric("count", {"sender": ["alice@example.org"]}) == 1, "as a script's `$sender` shows it"
    assert metrics.metric("bytes", right_filters := {name: [value] for name, value in right.items()}) == 100
    assert len(right_filters) == 12


def test_lists_mean_any_of_and_count_each_once() -> None:
    entries = [entry(n, retries=n % 4, sender=Address("a", f"d{n % 3}.example")) for n in range(24)]
    metrics = QueueMetrics(lambda: entries)
    for one in entries:
        metrics.add(one)
    assert metrics.metric("count", {"retry": ["0", "1", "0", "9"]}) == 12
    filters = {"senderdomain": ["d0.example", "D0.EXAMPLE", "d1.example"], "retry": ["0", "1"]}
    assert metrics.metric("count", filters) == recount(entries, "count", filters) == 8
    many = {"senderdomain": [f"d{n}.example" for n in range(1000)], "retry": [str(n) for n in range(1000)]}
    assert metrics.metric("count", many) == 24


def test_metadata_not_set_matches_nothing() -> None:
    entries = [entry(1), entry(2, metadata={"x": ""})]
    metrics = QueueMetrics(lambda: entries)
    assert metrics.metric("count", {"metadata.x": [""]}) == 1


def test_held_mail_counts_and_quarantined_mail_does_not() -> None:
    entries = [entry(1, hold=True), entry(2, hold=True, quarantine_id="quarantine:1")]
    metrics = QueueMetrics(lambda: entries)
    for one in entries:
        metrics.add(one)
    assert metrics.metric("count", {}) == 1
    assert metrics.metric("count", {"senderdomain": ["example.org"]}) == 1
    for one in entries:
        metrics.remove(one)
    assert metrics.metric("count", {}) == metrics.metric("bytes", {"senderdomain": ["example.org"]}) == 0


def test_counts_stay_those_of_a_recount() -> None:
    rng = random.Random(3)
    entries: dict[int, QueuedRecipient] = {}
    metrics = QueueMetrics(entries.values, max_sets=5)
    asked = [
        {"senderdomain": ["d1.example"]},
        {"senderdomain": ["d1.example", "d2.example"], "retry": ["0", "2"]},
        {"transportid": ["t1"], "metadata.k": ["1", "2"], "recipientdomain": ["r1.example"]},
        {"retry": ["1"]},
        {"sender": ["a@d3.example"]},
        {"saslusername": ["u"]},
        {},
    ]
    for step in range(1000):
        choice = rng.random()
        if choice < 0.5:
            one = entry(
                step,
                sender=Address("a", f"d{rng.randrange(4)}.example"),
                recipient=Address("b", f"r{rng.randrange(3)}.example"),
                transport_id=f"t{rng.randrange(3)}",
                metadata={"k": str(rng.randrange(3))} if rng.random() < 0.5 else {},
                quarantine_id="q" if rng.random() < 0.1 else None,
                size_bytes=rng.randrange(1000),
            )
            entries[step] = compact(one)
            metrics.add(one)
        elif entries:
            one = entries[rng.choice(list(entries))]
            metrics.remove(one)
            if choice < 0.75:
                del entries[one.queue_id]
            else:
                one.retries += 1
                one.transport_id = "t1"
                metrics.add(one)
        filters = rng.choice(asked)
        for metric in ("count", "bytes"):
            assert metrics.metric(metric, filters) == recount(list(entries.values()), metric, filters)
    assert len(metrics.tracked) == 5


def test_an_unknown_metric_or_field_is_refused() -> None:
    metrics = QueueMetrics(list)
    with pytest.raises(ValueError, match="unknown queue metric `size`"):
        metrics.metric("size", {})
    for name in ("senderdomian", "metadata.", "metadata", ""):
        with pytest.raises(ValueError, match="unknown queue field"):
            metrics.metric("count", {name: ["x"]})
    with pytest.raises(ValueError):
        metrics.track(["nope"])
    assert metrics.tracked == ()


def test_a_metric_does_not_walk_the_queue_again() -> None:
    entries = [entry(n, sender=Address("a", f"d{n % 100}.example")) for n in range(20_000)]
    walks = 0

    def walk() -> list[QueuedRecipient]:
        nonlocal walks
        walks += 1
        return entries

    metrics = QueueMetrics(walk)
    filters = {"senderdomain": ["d7.example"], "transportid": ["mailtransport:1", "x"]}
    assert metrics.metric("count", filters) == 200
    for _ in range(1000):
        metrics.metric("count", filters)
    assert walks == 1


def test_a_set_counted_in_steps_is_that_of_a_recount(monkeypatch):
    rng = random.Random(3)
    index = Index()
    for number in range(1, 200):
        index.add(made(rng, number * 2))
    build = index.count_in_steps(("senderdomain", "retry"))
    assert index.count_in_steps(("retry", "senderdomain")) is None
    more = True
    for number in range(1, 300):
        if more:
            more = build.step(rng.choice((0, 1, 3)))
            if not more:
                index.metrics.end(build)
        entries = list(index)
        what = rng.random()
        if what < 0.3:
            index.add(made(rng, rng.choice((number * 2 + 1, 1000 + number))))
        elif what < 0.6:
            index.discard(rng.choice(entries).queue_id)
        else:
            values = {"retries": rng.randrange(3), "quarantine_id": rng.choice((None, "q"))}
            index.change(rng.choice(entries), values)
    assert not more
    for domain in ("a.example", "b.example"):
        filters = {"senderdomain": [domain], "retry": ["0", "2"]}
        found = [each for each in index if each.quarantine_id is None and each.sender.domain == domain]
        found = [each for each in found if each.retries in (0, 2)]
        assert index.metrics.metric("count", filters) == len(found)
        assert index.metrics.metric("bytes", filters) == sum(each.size_bytes for each in found)
    assert index.metrics.tracked == (("retry", "senderdomain"),)


def made(rng: random.Random, queue_id: int) -> QueuedRecipient:
    sender = Address("s", rng.choice(("a.example", "b.example")))
    recipient = Address("r", "c.example")
    size = rng.randrange(1000)
    return QueuedRecipient(queue_id, queue_id, "t", 0.0, sender, recipient, "t", 1e9, size, retries=rng.randrange(3))
