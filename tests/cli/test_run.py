"""`hslpy run`: echoes, verdicts, errors and exit statuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Hslpy, spawn

SEEDS = Path(__file__).parents[2] / "scripts/examples/seeds"


def write(folder: Path, text: str, name: str = "a.hsl") -> Path:
    file = folder / name
    file.write_bytes(text.encode())
    return file


def test_one_line_an_echo(hslpy: Hslpy, tmp_path: Path) -> None:
    done = hslpy("run", write(tmp_path, 'echo "å" . 1; echo [1, "k" => true]; echo none;'))
    assert (done.status, done.out, done.err) == (0, 'å1\n[0=>1,"k"=>true]\nnone\n', "")


def test_bytes_go_out_as_they_are(tmp_path: Path) -> None:
    done = spawn("run", write(tmp_path, 'echo "\\xc3\\xa5";'))
    assert done.out == "å\n"


def test_a_run_time_error(hslpy: Hslpy, tmp_path: Path) -> None:
    done = hslpy("run", write(tmp_path, 'function f() {\n    return 1 / 0;\n}\necho "before"; f();'))
    assert (done.status, done.out) == (1, "before\n")
    assert "error[R123]: division by zero" in done.err and "a.hsl:2:12" in done.err
    assert "called from" in done.err and "a.hsl:4:16" in done.err


def test_an_error_before_it_runs(hslpy: Hslpy, tmp_path: Path) -> None:
    done = hslpy("run", write(tmp_path, 'echo "no"; lenght("a");'))
    assert (done.status, done.out) == (1, "") and "did you mean `length`?" in done.err


def test_services_exist_outside_of_hooks(hslpy: Hslpy, tmp_path: Path) -> None:
    text = 'for ($i = 0; $i < 3; $i++) echo rate("a", "b", 2, 60); memory_set("k", 7); echo memory_get("k");'
    text = text.replace('memory_set("k", 7)', 'memory_add("k", 7)').replace('echo memory_get("k");', "")
    assert hslpy("run", write(tmp_path, text)).out == "true\ntrue\nfalse\n"


def test_an_endless_loop_ends(hslpy: Hslpy, tmp_path: Path) -> None:
    done = hslpy("run", write(tmp_path, "while (true) {}"))
    assert done.status == 1
    assert "error[R201]" in done.err or "error[R203]" in done.err, done.err  # steps or time, whichever comes first


def test_the_verdict_at_a_hook(hslpy: Hslpy, tmp_path: Path) -> None:
    file = write(tmp_path, 'echo "hi"; if ($recipientdomain == "example.org") Reject("We don\'t send there");')
    done = hslpy("run", file, "--hook", "rcptto", "--set", "recipient=someone@example.org")
    assert (done.status, done.out) == (0, 'hi\nverdict: Reject 554 5.7.1 "We don\'t send there"\n')
    assert hslpy("run", file, "--hook", "rcptto").out == "hi\nverdict: Accept\n"


def test_what_is_wrong_is_told_with_its_cure(hslpy: Hslpy, tmp_path: Path) -> None:
    done = hslpy("run", write(tmp_path, 'Defer("later");'))
    assert "`Defer` is available at connect, helo, auth, mailfrom, rcptto, data, eod, not outside of hooks" in done.err
    assert done.status == 1 and "--hook NAME" in done.err
    assert "= hint: it is `Map(keytype: string, valuetype: string) -> Map`" in hslpy("run", write(tmp_path, "Map();")).err
    method = hslpy("run", write(tmp_path, 'MIME()->addHeader("x");')).err
    assert "= hint: it is `addHeader(" in method


@pytest.mark.parametrize(("metadata", "source"), [([], "netaddr:2"), (["--set", "metadata=spam=yes"], "netaddr:4")])
def test_the_seeds_pre_delivery(hslpy: Hslpy, metadata: list[str], source: str) -> None:
    done = hslpy("run", SEEDS / "pre-delivery.hsl", "--hook", "predelivery", "--set", "senderdomain=example.org", *metadata)
    assert (done.status, done.out) == (0, f'verdict: Try\n  sourceip: ["{source}"]\n')


def test_a_scanner_that_is_not_configured(hslpy: Hslpy) -> None:
    done = hslpy("run", SEEDS / "data.hsl", "--hook", "data")
    assert done.status == 1 and "set `[scanners.rspamd]`" in done.err
    assert 'verdict: Defer 451 4.3.0 "Temporary policy failure"' in done.out


def test_deliveries_with_their_edits(hslpy: Hslpy, tmp_path: Path) -> None:
    message = write(tmp_path, "Subject: Hej\nX-Old: 1\n\nBody\n", "m.eml")
    edits = 'SetHeader("Subject", GetHeader("Subject") . "!"); DelHeader("X-Old");'
    file = write(tmp_path, edits + ' SetMetaData(["a" => "b"]);')
    done = hslpy("run", file, "--hook", "data", "--message", message, "--set", "recipients=a@b.example,c@d.example")
    assert done.status == 0, done.err
    assert "  deliver to <a@b.example> from <sender@example.com> by mailtransport:1\n" in done.out
    assert "  deliver to <c@d.example>" in done.out
    assert '    metadata: ["a" => "b"]\n' in done.out and "      Subject: Hej!\n" in done.out and "X-Old" not in done.out


def test_wrong_usage(hslpy: Hslpy, tmp_path: Path) -> None:
    file = write(tmp_path, "")
    for arguments, message in [
        (["--hook", "rcpto"], "did you mean `rcptto`?"),
        (["--hook", "rcptto", "--set", "sendr=x"], "did you mean `sender`?"),
        (["--hook", "rcptto", "--set", "sender"], "--set wants NAME=VALUE"),
        (["--set", "sender=x@y.example"], "name it with --hook"),
        (["--hook", "data", "--message", tmp_path / "none"], "can't read the message"),
    ]:
        done = hslpy("run", file, *arguments)
        assert done.status == 2 and message in done.err
    assert "cannot read the script" in hslpy("run", tmp_path / "none.hsl").err


def test_settings_give_the_sources(hslpy: Hslpy, tmp_path: Path) -> None:
    config = write(tmp_path, '[[source]]\nid = "netaddr:1"\naddress = "127.0.0.1"\n', "c.toml")
    bulk = ("--hook", "predelivery", "--set", "metadata=spam=yes")
    done = hslpy("run", SEEDS / "pre-delivery.hsl", *bulk, "--config", config)
    assert done.status == 1 and "R306" in done.err


def test_letters_beyond_ascii_at_a_hook(tmp_path: Path) -> None:
    file = write(tmp_path, 'echo "å"; syslog("info", "tänk"); SetMetaData(["a" => "ö"]);')
    done = spawn("run", file, "--hook", "data")
    assert done.out.startswith("å\nverdict: Accept\n") and '    metadata: ["a" => "ö"]\n' in done.out
    assert done.err == "log info: tänk\n"


def test_a_profile(hslpy: Hslpy, tmp_path: Path) -> None:
    file = write(tmp_path, 'echo "<" . [][0] . true . ">";')
    assert hslpy("run", "--profile", "3.4", file).out == "<1>\n"
    assert "error[R121]" in hslpy("run", file).err
    assert "there is no profile 'x'" in hslpy("run", "--profile", "x", file).err
    rcpt = write(tmp_path, "if (0) Accept();", "rcpt.hsl")
    assert hslpy("run", "--hook", "rcptto", "--profile", "2017", rcpt).out.startswith("verdict: Reject 554")
    test = write(tmp_path, 'test("one", function () { expect([][0] . "", ""); });', "a.test.hsl")
    assert hslpy("test", "--profile", "2015", test).status == 0 and hslpy("test", test).status == 1
    added = write(tmp_path, 'echo 2 + "test";', "b.hsl")
    assert "W505" in hslpy("check", added).out and "W505" not in hslpy("check", "--profile", "2015", added).out
