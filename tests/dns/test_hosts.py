"""Names of hosts that scripts connect to: literals, this machine, /etc/hosts, DNS."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from hslpy.dns import hosts
from hslpy.dns.contract import NameNotFound, ResolutionFailed
from hslpy.dns.scripted import ScriptedResolver


@pytest.fixture(autouse=True)
def hosts_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "hosts"
    file.write_text("# ours\n192.0.2.5\tDB db.example # theirs\n2001:db8::5 db\nnonsense name\n")
    monkeypatch.setattr(hosts, "HOSTS_FILE", file)
    return file


def addresses(name: str) -> tuple[str, ...]:
    resolver = ScriptedResolver()
    resolver.set("both.example", "A", ["192.0.2.1", "192.0.2.2"])
    resolver.set("both.example", "AAAA", ["2001:db8::1"])
    resolver.set("six.example", "AAAA", ["2001:db8::1"])
    resolver.set("later.example", "A", "TRY_AGAIN")
    resolver.set("localhost", "A", ["192.0.2.66"])
    return asyncio.run(hosts.addresses_of(resolver, name))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("192.0.2.9", ("192.0.2.9",)),
        ("[2001:db8:0::9]", ("2001:db8::9",)),
        ("LocalHost", ("127.0.0.1", "::1")),
        ("a.localhost.", ("127.0.0.1", "::1")),
        ("DB", ("192.0.2.5", "2001:db8::5")),
        ("db.example", ("192.0.2.5",)),
        ("both.example", ("192.0.2.1", "192.0.2.2", "2001:db8::1")),
        ("six.example.", ("2001:db8::1",)),
    ],
)
def test_what_a_name_stands_for(name: str, found: tuple[str, ...]) -> None:
    assert addresses(name) == found


def test_names_without_an_address() -> None:
    with pytest.raises(NameNotFound):
        addresses("name")
    with pytest.raises(ResolutionFailed):
        addresses("later.example")


def test_a_changed_file_is_read_again(hosts_file: Path) -> None:
    assert addresses("db.example") == ("192.0.2.5",)
    hosts_file.write_text("192.0.2.6 db.example\n")
    os.utime(hosts_file, (1, 1))
    assert addresses("db.example") == ("192.0.2.6",)
    hosts_file.unlink()
    with pytest.raises(NameNotFound):
        addresses("db.example")
