"""The addresses of this machine: of real interfaces, in a network namespace of the test's own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from hslpy.egress.addresses import interfaces
from tests.support.namespaces import own

SURVEY = """
import json, sys
from hslpy.egress.addresses import interfaces
from tests.support.namespaces import own
asked = json.loads(sys.argv[1])
asked["primary"] = {int(family): one for family, one in asked.get("primary", {}).items()}
report = interfaces.survey("n1.example", **asked)
found = {one.address: [one.interface, *one.flags] for one in report.addresses}
print(json.dumps([found, report.primary, report.nonlocal_bind]))
"""


def survey(*commands: str, **asked: object):
    """Give what a machine with these interfaces finds: addresses, primary ones, families in which all can be bound."""
    script = "set -e; ip link set lo up; " + "; ".join(commands) + '; exec "$0" -c "$1" "$2"'
    done = subprocess.run(
        [*own("net"), "bash", "-c", script, sys.executable, SURVEY, json.dumps(asked)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


if shutil.which("ip") is None:
    pytest.fail("these tests want iproute2", pytrace=False)

LINKS = "ip link add out0 type veth peer name out1; ip link set out0 up; ip link set out1 up"


def test_both_families_with_their_flags():
    found, primary, anything = survey(
        LINKS,
        "ip addr add 203.0.113.10/24 dev out0",
        "ip addr add 203.0.113.11/24 dev out0 label out0:1",
        "ip addr add 198.51.100.7/32 dev lo",
        "ip addr add 10.9.9.1 peer 10.9.9.2 dev out1",
        "ip addr add 2001:db8::5/64 dev out0 nodad",
        "ip addr add 2001:db8::6/64 dev out0 nodad preferred_lft 0",
        "ip route add default via 203.0.113.1 src 203.0.113.11",
    )
    assert found == {
        "203.0.113.10": ["out0"],
        "203.0.113.11": ["out0"],
        "198.51.100.7": ["lo"],
        "10.9.9.1": ["out1"],
        "2001:db8::5": ["out0"],
        "2001:db8::6": ["out0", "deprecated"],
    }
    assert primary == {"4": "203.0.113.11", "6": "2001:db8::5"}
    assert anything == []


def test_an_address_that_is_still_being_tried_cannot_be_used():
    found, primary, _ = survey(
        LINKS,
        "sysctl -qw net.ipv6.conf.out0.dad_transmits=100",
        "ip addr add 2001:db8::7/64 dev out0",
    )
    assert found == {"2001:db8::7": ["out0", "tentative", "unbindable"]}
    assert primary == {}


def test_an_address_that_another_machine_has_is_told():
    found, _, _ = survey(
        LINKS,
        "ip addr add 2001:db8::8/64 dev out1 nodad",
        "sysctl -qw net.ipv6.conf.out0.accept_dad=1 net.ipv6.conf.out0.enhanced_dad=0",
        "ip addr add 2001:db8::8/64 dev out0",
        "for i in $(seq 80); do ip -6 addr show dev out0 | grep -q dadfailed && break; sleep 0.05; done",
        "ip addr del 2001:db8::8/64 dev out1",
    )
    assert found == {"2001:db8::8": ["out0", "dadfailed", "tentative", "unbindable"]}


@pytest.mark.parametrize("route", ["true", "ip -6 route add default dev out0"])
def test_a_temporary_address_is_told_and_never_the_primary(route):
    found, primary, _ = survey(
        LINKS,
        "sysctl -qw net.ipv6.conf.out0.use_tempaddr=2",
        "ip addr add 2001:db8::9/64 dev out0 nodad mngtmpaddr valid_lft 9999 preferred_lft 9999",
        "for i in $(seq 80); do ip -6 addr show dev out0 temporary -tentative | grep -q 2001 && break; sleep 0.05; done",
        route,
    )
    temporary = [address for address, (_, *flags) in found.items() if "temporary" in flags]
    assert len(temporary) == 1 and found["2001:db8::9"] == ["out0"]
    assert primary == {"6": "2001:db8::9"}


def test_what_the_kernel_takes_by_a_route_alone_is_found_when_asked_for():
    both = {"also": ["203.0.113.77", "198.51.100.1"]}
    assert survey("ip route add local 203.0.113.0/24 dev lo", **both)[0] == {"203.0.113.77": ["", "routed"]}
    found, _, anything = survey("sysctl -qw net.ipv4.ip_nonlocal_bind=1", **both)
    assert found == {} and anything == [4]  # it can be bound to, which says nothing


def test_loopback_and_link_local_only_where_allowed():
    assert survey(LINKS)[:2] == [{}, {}]
    found, primary, _ = survey(LINKS, allow_loopback=True, also=["127.0.0.9"])
    assert found == {"127.0.0.1": ["lo"], "::1": ["lo"], "127.0.0.9": ["", "routed"]}
    assert primary == {"4": "127.0.0.1", "6": "::1"}


def test_a_primary_address_can_be_set():
    addresses = ("ip addr add 203.0.113.10/24 dev lo", "ip addr add 203.0.113.11/24 dev lo")
    assert survey(*addresses)[1] == {"4": "203.0.113.10"}
    assert survey(*addresses, primary={"4": "203.0.113.11"})[1] == {"4": "203.0.113.11"}


def test_why_an_address_cannot_be_bound():
    assert interfaces.bind_fault("127.0.0.1") is None
    assert interfaces.bind_fault("192.0.2.1") == "it is not on this machine"
    assert interfaces.bind_fault("fe80::1") == "invalid argument"


def test_thousands_of_addresses():
    found, *_ = survey("ip -batch <(for i in $(seq 1 3000); do echo addr add 10.1.$((i/250)).$((i%250))/32 dev lo; done)")
    assert len(found) == 3000
