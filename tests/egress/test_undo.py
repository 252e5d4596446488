"""What was changed is taken back: by whoever changed it, once, for a while, whatever process asks."""

from __future__ import annotations

import pytest

from hslpy.egress.accounts import directory
from hslpy.egress.accounts.nodes import add_node
from hslpy.egress.delivery_ips import in_force, settings
from hslpy.egress.rules.names import NotFound
from hslpy.egress.store import undoing
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.undo import take_back

ANN, BOB = Actor("ann", "page"), Actor("bob", "page")
NODE = "node1.example.net"


def put(database, interfaces, **scope):
    return settings.set_interfaces(database, ANN, filtering_host=NODE, interfaces=interfaces, **scope).undo


def test_a_change_is_taken_back_after_a_restart_once_by_who_made_it(database, database_url, clock):
    add_node(database, ANN, NODE)
    ticket = put(database, "192.0.2.9", domain="default")
    assert put(database, "192.0.2.9", domain="default") == ""  # nothing was changed
    later = Database(str(database.url.render_as_string(hide_password=False)), clock)
    with pytest.raises(NotFound):
        take_back(later, BOB, ticket)
    assert take_back(later, ANN, ticket) == "Taken back: 1 setting as before."
    assert in_force.get_interfaces(later, domain="default").nodes == {NODE: "0.0.0.0;::0"}
    with pytest.raises(NotFound):
        take_back(later, ANN, ticket)
    later.close()


def test_what_a_change_was_of_is_kept_for_a_day_and_not_without_end(database, clock):
    add_node(database, ANN, NODE)
    first = put(database, "192.0.2.9", domain="default")
    for number in range(undoing.MOST):
        clock.advance(1)
        last = put(database, f"192.0.2.{10 + number}", domain="default")
    with pytest.raises(NotFound):
        take_back(database, ANN, first)
    clock.advance(undoing.KEPT_S + 1)
    with pytest.raises(NotFound):
        take_back(database, ANN, last)


def test_settings_whose_scope_is_gone_are_told_and_the_others_taken_back(database):
    add_node(database, ANN, NODE)
    for domain in ("example.com", "example.org"):
        directory.add_domain(database, ANN, domain)
    ticket = put(database, "192.0.2.9", domain="example.com;example.org")
    directory.remove_domain(database, ANN, "example.org")
    assert take_back(database, ANN, ticket) == "Taken back: 1 setting as before; 1 setting had been changed since."


def test_what_somebody_else_made_since_is_not_taken_back(database, clock):
    """Each new setting begins with the same version, and a domain may be another's by the same name."""
    add_node(database, ANN, NODE)
    directory.add_domain(database, ANN, "example.com")
    ticket = put(database, "192.0.2.9", domain="example.com")
    clock.advance(1)
    put(database, "", domain="example.com")
    clock.advance(1)
    settings.set_interfaces(database, BOB, filtering_host=NODE, interfaces="192.0.2.10", domain="example.com")
    assert take_back(database, ANN, ticket) == "Taken back: 0 settings as before; 1 setting had been changed since."
    removal = put(database, "", domain="example.com")
    clock.advance(1)
    directory.remove_domain(database, ANN, "example.com")
    directory.add_domain(database, BOB, "example.com")
    assert take_back(database, ANN, removal) == "Taken back: 0 settings as before; 1 setting had been changed since."
