"""Settings of the site: checked, told of when misspelt."""

from __future__ import annotations

import dataclasses

import pytest

from hslpy.egress.accounts import site
from hslpy.egress.rules.choice import Policies
from hslpy.egress.rules.names import Refused
from hslpy.egress.store.database import Actor

ROOT = Actor("root", "cli")


def test_defaults_and_changes(database):
    assert all(row.is_default and row.help for row in site.rows(database))
    with database.read() as session:
        assert site.read(session).policies == Policies()
    values = {"missing_family": "inherit", "max_warming_share": "0.5", "alert_addresses": "a@x.example; b@x.example"}
    site.change(database, ROOT, values)
    with database.read() as session:
        found = site.read(session)
    assert found.policies == Policies(missing_family="inherit", max_warming_share=0.5)
    assert found.alert_addresses == ("a@x.example", "b@x.example")
    site.change(database, ROOT, {"missing_family": None})
    (row,) = [row for row in site.rows(database) if row.key == "missing_family"]
    assert row.is_default and row.value == "auto"


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("missing_famly", "auto", "there is no setting 'missing_famly'; did you mean 'missing_family'?"),
        ("overflow", "nextlevel", "did you mean 'next_level'"),
        ("max_warming_share", "2", "a number from 0 to 1"),
        ("max_warming_share", "nan", "a number from 0 to 1"),
        ("dnsbl_daily", "maybe", "`yes` or `no`"),
        ("time_zone", "Europe/Wien", "Europe/Vienna"),
        ("time_zone", "../etc/passwd", "Europe/Vienna"),
        ("identity_header", "X Y:", "name of a header"),
        ("spf_host", "spf_1.example.com", "host name"),
        ("dnsbl_resolvers", "one", "127.0.0.1"),
        ("dnsbl_resolvers", "127.0.0.1:99999", "127.0.0.1"),
        ("alert_addresses", "nobody", "ops@example.com"),
        ("alert_webhook", "ftp://x", "https://"),
    ],
)
def test_what_cannot_be_changes_nothing(database, key, value, text):
    with pytest.raises(Refused) as raised:
        site.change(database, ROOT, {"pool": "sticky", key: value})
    assert text in raised.value.message
    assert all(row.is_default for row in site.rows(database))


@pytest.mark.parametrize("value", ["127.0.0.1", "127.0.0.1:5353", "[::1]:53", "::1", ["::1", "127.0.0.1"], ""])
def test_resolvers(value):
    assert isinstance(site.value_of("dnsbl_resolvers", value), list)


def test_every_row_takes_its_default():
    for one in dataclasses.fields(site.Site):
        given = list(one.default) if isinstance(one.default, tuple) else one.default
        assert site.value_of(one.name, given) == given
