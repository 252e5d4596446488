"""The commands of delivery IPs: without a server, in this process, and over the Unix socket of a real one."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hslpy.admin.server import WebServer
from hslpy.admin.settings import AdminSettings
from hslpy.admin.site import Site
from hslpy.admin.web import web_app
from hslpy.cli.output import table
from hslpy.clock import SystemClock
from hslpy.egress.accounts.nodes import ensure_node
from hslpy.egress.reputation import block_lists
from hslpy.egress.store.database import Actor, Database
from hslpy.log import no_log

from .conftest import Done, Hslpy

NODE = "node1.example.net"


class Shell:
    """Runs commands with the settings of one server."""

    def __init__(self, hslpy: Hslpy, config: Path) -> None:
        self._hslpy = hslpy
        self._config = config

    def __call__(self, *arguments: object, status: int = 0) -> Done:
        done = self._hslpy(*arguments, "--config", self._config)
        assert done.status == status, done
        return done

    def json(self, *arguments: object, status: int = 0):
        return json.loads(self(*arguments, "--json", status=status).out)


@pytest.fixture(params=["in process", "served"])
def shell(request: pytest.FixtureRequest, hslpy: Hslpy, tmp_path: Path) -> Iterator[Shell]:
    config = tmp_path / "settings.toml"
    config.write_text(f'[server]\nhostname = "{NODE}"\ndata_dir = "{tmp_path}/data"\n[dns]\nnameservers = ["127.0.0.1"]\n')
    if request.param == "in process":
        yield Shell(hslpy, config)
        return
    (tmp_path / "data").mkdir()
    clock = SystemClock()
    database = Database(f"sqlite:///{tmp_path}/data/delivery.db", clock)
    database.open()
    ensure_node(database, Actor("test"), NODE)
    block_lists.populate(database)
    path = tmp_path / "data" / "admin.sock"
    server = WebServer(web_app(Site(database, clock, no_log, NODE)), AdminSettings(listen=()), NODE, path, clock, no_log)
    thread = threading.Thread(target=lambda: asyncio.run(server.run()))
    thread.start()
    for _ in range(500):
        if path.exists():
            break
        threading.Event().wait(0.02)
    yield Shell(hslpy, config)
    server.stop()
    thread.join(60)
    database.close()


def given(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_everything_is_set_up_by_commands(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given(monkeypatch, "long enough\n")
    assert shell.json("admin", "add", "root", "--role", "super-admin", "--password-stdin")["role"] == "super-admin"
    made = shell.json("admin", "add", "ann", "--generate", "--networks", "10.0.0.0/8")
    assert len(made["password"]) >= 16 and made["allowed_networks"] == ["10.0.0.0/8"]
    assert shell.json("admin", "set", "ann", "--networks", "all", "--rename", "anna")["allowed_networks"] is None
    token = shell.json("admin", "token", "add", "anna", "reports", "--scope", "ips:read", "--days", "2")
    assert token["text"].startswith("hslpy_") and token["token"]["scopes"] == ["ips:read"]
    assert token["text"] not in shell("admin", "token", "list").out
    shell("admin", "token", "remove", "anna", "reports")
    assert shell.json("admin", "lock", "anna")["locked"] is True
    assert shell.json("admin", "unlock", "anna")["locked"] is False
    shell("domain", "add", "example.com", "--admin", "anna")
    shell("domain", "add", "www.example.com", "--alias-of", "example.com")
    assert shell.json("domain", "list")[0]["aliases"] == ["www.example.com"]
    assert "password" in shell.json("user", "add", "bob@example.com", "--generate")
    assert shell.json("user", "add", "example.com", "192.0.2.0/24")["network"] == "192.0.2.0/24"
    assert shell.json("user", "lock", "example.com", "192.0.2.0/24", "--reason", "spam")["locked_reason"] == "spam"
    assert shell.json("user", "unlock", "192.0.2.0/24@example.com")["locked"] is False
    assert shell.json("node", "lock", NODE, "--reason", "listed")["locked_reason"] == "listed"
    assert f"its mail is held: the server {NODE} is locked: listed" in shell("ip", "explain", "--node", NODE).out
    assert shell("node", "unlock", NODE).out == f"{NODE} delivers again\n"
    assert [one["username"] for one in shell.json("user", "list", "example.com")] == ["", "192.0.2.0/24", "bob"]
    shell("user", "remove", "example.com", "192.0.2.0/24")
    shell("node", "set", NODE, "--ipv4", "8.8.4.1", "--address", "8.8.4.2", "--address", "2001:4860::5")
    assert shell.json("node", "list")[0]["primary_ipv4"] == "8.8.4.1"
    shell("node", "add", "node2.example.net")
    shell("node", "remove", "node2.example.net")
    assert [one["address"] for one in shell.json("node", "addresses", NODE)] == ["8.8.4.1", "8.8.4.2", "2001:4860::5"]
    done = shell("ip", "set", "--node", NODE, "--domain", "example.com", "8.8.4.2", "8.8.4.9")
    assert "8.8.4.9 is not an address of node1.example.net" in done.out
    assert "8.8.4.2;8.8.4.9;::0" in shell("ip", "show", "--domain", "example.com", "--user", "bob").out
    explained = shell("ip", "explain", "--user", "bob@example.com").out  # of the only node
    assert "--user wants --domain" in shell("ip", "explain", "--node", NODE, "--user", "bob", status=2).err
    assert "* domain example.com: 8.8.4.2; 8.8.4.9" in explained and "not on this server" in explained
    told = shell("ip", "suspend", "8.8.4.2", "--node", NODE, "--hours", "1.5", "--reason", "blocked")
    assert told.out == f"nothing is sent from 8.8.4.2 on {NODE} for 1.5 hours\n"
    assert "blocked" in shell("ip", "suspended").out
    assert shell("ip", "resume", "8.8.4.2").out == "8.8.4.2 may be used again.\n"
    assert shell("ip", "suspended").out == "no address is suspended\n"
    rows = shell.json("ip", "list", "--rule", "domain:is:example.com")["items"]
    assert [one["ipv4"] for one in rows] == [["8.8.4.2", "8.8.4.9"]]
    assert "1" in shell("ip", "replace", "8.8.4.9", "8.8.4.1").out
    assert "no setting has 8.8.4.9" in shell("ip", "replace", "8.8.4.9", "8.8.4.1", status=1).err
    for option, strict in (("--strict", True), ("--disable-ipv4", True), ("--no-strict", False)):
        row = shell.json("ip", "set", "--node", NODE, "--domain", "example.com", "2001:4860::5", option)["rows"][0]
        assert row["strict"] is strict
    shell("ip", "set", "--node", NODE, "--domain", "example.com", "8.8.4.2", "8.8.4.1")
    data = tmp_path / "data"
    assert (data / "admin.sock").exists() or (data / "delivery.db").stat().st_mode & 0o777 == 0o600
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(shell("ip", "export").out)
    assert "unchanged" in shell("ip", "import", sheet).out
    shell("ip", "remove", rows[0]["id"])
    assert "added" in shell("ip", "import", sheet, "--preview").out
    assert shell.json("ip", "import", sheet)[-1]["outcome"] == "added"
    shell("ip", "set", "--node", NODE, "--domain", "example.com")
    assert shell.json("site", "set", "pool=sticky", "alert_addresses=ops@example.com,b@example.com")[2]["value"] == "sticky"
    assert shell.json("site", "set", "--default", "pool")[2]["is_default"] is True
    entries = shell.json("audit", "--actor", "local", "--limit", "2")
    assert [one["action"] for one in entries] == ["site set", "site set"]


def test_a_warm_up_by_commands(shell: Shell) -> None:
    shell("node", "set", NODE, "--address", "8.8.4.2")
    assert "no address" in shell("ip", "warmup", "list").out
    begun = shell.json("ip", "warmup", "start", "8.8.4.2", "--days", "9", "--hourly", "20,40", "--hourly-of", "google=10")
    assert (begun["plan"]["days"], begun["plan"]["hourly"]) == (9, [20, 40])
    assert "the number" in shell("ip", "warmup", "plan", "8.8.4.2", "--hourly", "x", status=1).err
    assert "Paused" in shell("ip", "warmup", "pause", "8.8.4.2", "--reason", "later").out
    shell("ip", "warmup", "resume", "8.8.4.2")
    assert "planned" in shell("ip", "warmup", "show", "8.8.4.2").out
    assert "warm" in shell("ip", "warmup", "skip", "8.8.4.2").out
    shell("ip", "warmup", "forget", "8.8.4.2")


def test_block_lists_by_commands(shell: Shell, tmp_path: Path) -> None:
    assert "bl.spamcop.net" in shell("dnsbl", "list", "--contains", "spamcop").out
    assert shell.json("dnsbl", "set", "SpamCop", "--no-enabled")["enabled"] is False
    assert shell.json("dnsbl", "set", "bl.spamcop.net", "--name", "Cop", "--enabled")["name"] == "Cop"
    shell("dnsbl", "remove", "Cop")
    assert shell("dnsbl", "restore").out == "1 list was restored\n"
    file = tmp_path / "lists.csv"
    file.write_text("rbl_hostname,rbl_name\nnew.example.org,New\nnonsense,Bad\n")
    assert "1 added, 1 error (line 3)" in shell("dnsbl", "import", file, "--preview", status=1).out
    shell("dnsbl", "import", file, status=1)
    assert shell("dnsbl", "export", "New").out == "rbl_hostname,rbl_name\nnew.example.org,New\n"
    assert "there is no list 'Nobody'" in shell("dnsbl", "test", "Nobody", status=1).err
    assert "never listed" in shell("dnsbl", "history", "8.8.4.1").out


def test_what_is_refused_says_so(shell: Shell) -> None:
    assert "domain 'nobody.example' does not exist" in shell("domain", "lock", "nobody.example", status=1).err
    refused = shell("ip", "set", "--node", NODE, "224.0.0.1", status=1)
    assert refused.err == "error: '224.0.0.1' cannot be used as a source address (multicast)\n"
    misspelt = shell("site", "set", "pool=sticki", status=1)
    assert "did you mean 'sticky'?" in misspelt.err
    assert "nothing was chosen" in shell("domain", "set", "example.com", status=2).err
    assert "did you mean `explain`?" in shell("ip", "explian", status=2).err
    assert "did you mean `--rule`?" in shell("ip", "list", "--rul", "x", status=2).err
    before_what_is_missing = shell("ip", "set", "--nod", NODE, "192.0.2.1", status=2).err
    assert before_what_is_missing.startswith("error: unknown option --nod\n  hint: did you mean `--node`?\n")
    assert "required: --node" in shell("ip", "set", "--", "--nod", status=2).err
    assert "ids or rules are wanted" in shell("ip", "remove", status=2).err
    assert "cannot be read" in shell("ip", "import", "/nowhere.csv", status=2).err


def test_without_a_database_there_is_nothing_to_ask(hslpy: Hslpy, tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(f'[server]\nhostname = "{NODE}"\ndata_dir = "{tmp_path}/data"\n[egress]\ndatabase = ""\n')
    done = hslpy("domain", "list", "--config", config)
    assert (done.status, "there is no database of delivery IPs" in done.err) == (2, True)


def test_tables_obey_nobody() -> None:
    assert "\x1b" not in table([{"name": "\x1b]0;x\x07"}], ("name",))
    assert table([], ("name",), "none") == "none"
