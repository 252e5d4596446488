"""`hslpy user hash`, and what `hslpy check --config` says of users and certificates."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from hslpy.users.argon import matches
from hslpy.users.file import read_users
from tests.cli.conftest import Hslpy
from tests.smtp.pairs import pair


def _typed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_a_line_is_made(hslpy: Hslpy, monkeypatch: pytest.MonkeyPatch) -> None:
    _typed(monkeypatch, "pässword\r\nmore\n".encode())
    done = hslpy("user", "hash", "jörg", "--stdin")
    assert done.status == 0
    ((name, encoded),) = read_users(done.out.encode(), "out").items()
    assert name == "jörg" and matches(encoded, "pässword".encode())


def test_the_terminal_is_asked_twice(hslpy: Hslpy, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(*given: str) -> Any:
        left = iter(given)
        return lambda _prompt: next(left)

    monkeypatch.setattr("getpass.getpass", answers("secret", "secret"))
    done = hslpy("user", "hash")
    assert done.status == 0 and matches(done.out.strip(), b"secret")
    monkeypatch.setattr("getpass.getpass", answers("secret", "other"))
    done = hslpy("user", "hash", "joe")
    assert done.status == 2 and "these were two passwords" in done.err and not done.out


@pytest.mark.parametrize(("name", "content"), [("joe", b""), ("joe", b"a\0b\n"), (" joe", b"x\n"), ("#joe", b"x\n")])
def test_what_cannot_be_is_refused(hslpy: Hslpy, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes) -> None:
    _typed(monkeypatch, content)
    done = hslpy("user", "hash", name, "--stdin")
    assert done.status == 2 and done.err.startswith("error: ") and not done.out


def test_check_looks_at_users_and_certificates(hslpy: Hslpy, tmp_path: Path) -> None:
    made = pair(tmp_path)
    config = tmp_path / "c.toml"
    config.write_text(f'[smtp]\ntls_certificate = "{made[0]}"\ntls_key = "{made[1]}"\nusers_file = "users"\n')
    done = hslpy("check", "--config", config)
    assert done.status == 2 and "cannot read the users file" in done.err
    (tmp_path / "users").write_text("joe\n")
    done = hslpy("check", "--config", config)
    assert done.status == 2 and "users:1: a line is" in done.err
    (tmp_path / "users").write_text("")
    assert hslpy("check", "--config", config).status == 0
    made[1].write_bytes(pair(tmp_path, stem="other")[1].read_bytes())
    done = hslpy("check", "--config", config)
    assert done.status == 2 and "is not that of the certificate" in done.err
    pair(tmp_path, ["mail.test"], days=90, age_days=91)
    done = hslpy("check", "--config", config)
    assert done.status == 0 and f"warning: the certificate {made[0]} ended on " in done.err
