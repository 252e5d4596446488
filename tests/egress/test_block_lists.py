"""The lists of a site in the database: added, changed, removed and had back, imported and exported."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from hslpy.clock import ManualClock
from hslpy.egress.reputation import block_lists
from hslpy.egress.rules.csv_text import read_csv, write_csv
from hslpy.egress.rules.dnsbl import MASK
from hslpy.egress.rules.names import NotFound, Refused
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.store.tables import Audit, Dnsbl, Domain, Listing, Node, PastListing

ROOT = Actor("root", "page")


@pytest.fixture
def database(database_url):
    database = Database(database_url, ManualClock())
    database.open()
    block_lists.populate(database)
    yield database
    database.close()


def lists_of(database, **options):
    with database.read() as session:
        return {one.zone: one for one in block_lists.lists(session, **options)}


def add(database, name, domain, **options):
    with database.read() as session:
        draft = block_lists.draft(session, name, domain, **options)
    return block_lists.add(database, ROOT, draft)


def imported(database, text, **options):
    data = text if isinstance(text, bytes) else text.encode()
    found = block_lists.import_csv(database, ROOT, data, **options)
    return [(row.line, row.outcome) for row in found.rows], found.text


def test_it_is_populated_once(database):
    assert block_lists.populate(database) == 0
    found = lists_of(database)
    assert (
        len(found) == 32 and found["zen.spamhaus.org"].families == (4, 6) and found["zen.spamhaus.org"].word == "Not tested"
    )
    assert not found["KEY.combined.mail.abusix.zone"].enabled and found["KEY.combined.mail.abusix.zone"].needs_key
    assert [code.matches for code in found["zen.spamhaus.org"].codes][:3] == ["127.0.0.2", "127.0.0.3", "127.0.0.4-7"]


def test_adding(database):
    with database.change(ROOT, "domain add") as change:
        change.add(Domain(name="example.com", created_at=0.0))
        change.add(Node(name="node1.example.net"))
    found = add(database, " Mine ", "https://bl.mine.test/about", codes="127.0.0.2=bad", families=[6, 4])
    assert (found.name, found.zone, found.families, found.enabled) == ("Mine", "bl.mine.test", (4, 6), True)
    for name, domain, text in [
        ("MINE", "bl2.mine.test", "named 'Mine' already"),
        ("Other", "BL.mine.test.", "already present: Mine"),
        ("", "bl2.mine.test", "1 to 64"),
        ("x" * 65, "bl2.mine.test", "1 to 64"),
        ("a\nb", "bl2.mine.test", "control"),
        ("Own", "example.com", "one of our own zones"),
        ("Own", "example.net", "one of our own zones"),
        ("Own", "node1.example.net", "one of our own zones"),
        ("Own", "bl.node1.example.net", "one of our own zones"),
        ("DBL", "dbl.spamhaus.org", "lists domains"),
    ]:
        with pytest.raises(Refused, match=text):
            add(database, name, domain)
    with pytest.raises(Refused, match="https"):
        add(database, "Other", "bl2.mine.test", removal_url="javascript:alert(1)")
    with pytest.raises(Refused, match="class"):
        add(database, "Other", "bl2.mine.test", kind="nonsense")


def test_retired_lists_stay_off(database):
    with database.read() as session:
        draft = block_lists.draft(session, "SORBS", "dnsbl.sorbs.net")
    assert draft.warning == "SORBS was shut down in June 2024. It will be saved disabled."
    row = block_lists.add(database, ROOT, draft)
    assert not row.enabled and row.status == "retired" and "June 2024" in row.note
    outcomes, _ = block_lists.set_enabled(database, ROOT, [row.id, 10**6], True)
    assert [one.done for one in outcomes] == [False, False] and "cannot be enabled" in outcomes[0].message


def test_keys_are_never_shown(database):
    secret = "abcdef1234567890"
    row = add(database, "DQS", f"{secret}.zen.dq.spamhaus.net")
    assert row.key == MASK and row.zone == "KEY.zen.dq.spamhaus.net" and row.enabled
    zen = lists_of(database)["zen.spamhaus.org"]
    assert row.codes == zen.codes
    zen = block_lists.edit(database, ROOT, zen.id, {"key": secret})
    assert zen.key == MASK and block_lists.edit(database, ROOT, zen.id, {"key": MASK}).key == MASK
    abusix = lists_of(database)["KEY.combined.mail.abusix.zone"]
    assert not block_lists.set_enabled(database, ROOT, [abusix.id], True)[0][0].done
    block_lists.edit(database, ROOT, abusix.id, {"domain": f"{secret}.combined.mail.abusix.zone"})
    assert block_lists.set_enabled(database, ROOT, [abusix.id], True)[0][0].done
    assert not block_lists.edit(database, ROOT, abusix.id, {"key": ""}).enabled
    with database.read() as session:
        assert secret not in block_lists.export_csv(session) and secret not in repr(block_lists.lists(session))
        assert secret not in repr([(one.arguments, one.result) for one in session.scalars(select(Audit))])
        assert session.scalars(select(Dnsbl.key).where(Dnsbl.id == zen.id)).one() == secret


def test_editing(database):
    row = add(database, "Mine", "bl.mine.test")
    with database.change(ROOT, "test") as change:
        kept = change.get(Dnsbl, row.id)
        kept.status, kept.tests, kept.refused_until = "refusing", {"4": "refusing"}, 5.0
    assert block_lists.edit(database, ROOT, row.id, {"name": "Ours"}).status == "refusing"
    changed = block_lists.edit(
        database, ROOT, row.id, {"domain": "bl.ours.test", "codes": "127.0.0.2", "kind": "neighbourhood"}
    )
    assert (changed.zone, changed.status, changed.refused_until) == ("bl.ours.test", "not tested", None)
    with pytest.raises(Refused, match="already present"):
        block_lists.edit(database, ROOT, row.id, {"domain": "bl.spamcop.net"})
    with pytest.raises(Refused, match="no 'zone'"):
        block_lists.edit(database, ROOT, row.id, {"zone": "x.test"})
    with pytest.raises(NotFound):
        block_lists.edit(database, ROOT, 10**6, {"name": "x"})
    spamcop = lists_of(database)["bl.spamcop.net"]
    with pytest.raises(Refused, match="cannot be changed"):
        block_lists.edit(database, ROOT, spamcop.id, {"domain": "bl3.mine.test"})


def test_removing_and_having_back(database):
    found = lists_of(database)
    spamcop, mine = found["bl.spamcop.net"], add(database, "Mine", "bl.mine.test")
    with database.keep() as session:
        for row in (spamcop, mine):
            session.add(
                Listing(
                    address="192.0.2.1", dnsbl_id=row.id, status="listed", codes=["127.0.0.2"], meanings=[""], reasons=[],
                    checked_at=9.0, expires_at=10.0, since=5.0, listed_since=5.0, listed_at=9.0, listed_codes=["127.0.0.2"],
                )
            )  # fmt: skip
    assert all(one.done for one in block_lists.remove(database, ROOT, [spamcop.id, mine.id]))
    assert not block_lists.remove(database, ROOT, [spamcop.id])[0].done
    assert {"bl.spamcop.net", "bl.mine.test"}.isdisjoint(lists_of(database))
    assert block_lists.populate(database) == 0 and "bl.spamcop.net" in lists_of(database, hidden=True)
    with database.read() as session:
        past = [
            (one.zone, one.from_at, one.to_at) for one in session.scalars(select(PastListing).order_by(PastListing.zone))
        ]
    assert past == [("bl.mine.test", 5.0, 9.0), ("bl.spamcop.net", 5.0, 9.0)]
    add(database, "spamcop", "bl.other.test")  # has taken the name meanwhile
    assert block_lists.restore_defaults(database, ROOT) == 1
    assert lists_of(database)["bl.spamcop.net"].enabled and lists_of(database)["bl.spamcop.net"].name == "bl.spamcop.net"
    block_lists.remove(database, ROOT, [spamcop.id])
    assert add(database, "SpamCop again", "bl.spamcop.net").is_builtin


def test_the_example_of_the_documents(database):
    rows, text = imported(database, "rbl_domain,rbl\nbl.spamcop.net,SpamCop\ndnsbl.sorbs.net,SORBS\n")
    assert rows == [(2, "already present"), (3, "new")] and text == "1 added, 1 skipped (already present)"
    sorbs = lists_of(database)["dnsbl.sorbs.net"]
    assert not sorbs.enabled and "June 2024" in sorbs.note
    rows, _ = imported(database, "-- rbl_domain,rbl\n-- bl.spamcop.net,SpamCop\n:- dnsbl.sorbs.net,SORBS\n")
    assert rows == [(2, "already present"), (3, "already present")]


def test_importing(database):
    file = (
        '\ufeffrbl_hostname;rbl_name\r\nbl.one.test;"One; or two"\r\n\r\nbl.spamcop.net;Spam-Cop\r\nnonsense;x\r\n'
        "192.0.2.1;y\r\nbl.two.test;psbl\r\nbl.one.test;One; or two\r\n"
    )
    expected = [(2, "new"), (4, "renamed"), (5, "invalid"), (6, "invalid"), (7, "invalid"), (8, "invalid")]
    before = database.revision()
    assert imported(database, file, preview=True)[0] == expected
    assert database.revision() == before and "bl.one.test" not in lists_of(database)
    rows, text = imported(database, file)
    assert rows == expected and text == "1 added, 1 renamed, 4 errors (lines 5, 6, 7, 8)"
    assert lists_of(database)["bl.one.test"].name == "One; or two"
    assert imported(database, "bl.three.test\n")[0] == [(1, "new")]
    assert imported(database, "")[1] == "0 added"
    for data, text in [(b"\xff\xfe,", "UTF-8"), (b"x" * (1 << 20) + b"x", "1 MiB"), (b"a\0b,c", "no text")]:
        with pytest.raises(Refused, match=text):
            imported(database, data)
    with pytest.raises(Refused, match="1000 rows"):
        imported(database, "".join(f"bl{n}.test,N{n}\n" for n in range(1001)))


def test_a_file_of_a_thousand_rows(database):
    rows, text = imported(database, "h,n\n" + "".join(f"bl.n{n}.test,N{n}\n" for n in range(1000)), preview=True)
    assert len(rows) == 1000 and text == "1000 added"


def test_what_is_exported_can_be_imported(database):
    add(database, "=cmd|'/C calc'!A0", "bl.formula.test")
    with database.read() as session:
        text = block_lists.export_csv(session)
    assert text.startswith("rbl_hostname,rbl_name\r\n") and "bl.formula.test,'=cmd" in text
    assert {outcome for _, outcome in imported(database, text)[0]} == {"already present"}
    everything = [one.id for one in lists_of(database).values()]
    block_lists.remove(database, ROOT, everything)
    found, _ = imported(database, text)
    assert {outcome for _, outcome in found} == {"new"} and len(found) == len(everything)
    with database.read() as session:
        assert block_lists.export_csv(session) == text
        assert block_lists.export_csv(session, []) == "rbl_hostname,rbl_name\r\n"


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.text("'=+-@\t\r ;,\"", max_size=4)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=3), max_size=5))
def test_tables_come_back(rows):
    written = [[cell.strip() for cell in row] for row in [["a,", "b"], *rows]]
    there = [row for row in written if any(row)]
    assert [cells for _, cells in read_csv(write_csv(written).encode())] == there
