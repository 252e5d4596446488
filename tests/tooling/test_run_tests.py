"""The runner of script tests: isolation, the functions it adds, and how failures are shown."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hslpy.clock import SystemClock
from hslpy.errors import OperatorError
from hslpy.tooling.run_tests import Result, find_files, run_file


def run(tmp_path: Path, text: str, wanted: str = "", **files: str) -> list[Result]:
    for name, content in files.items():
        (tmp_path / f"{name}.hsl").write_text(content)
    file = tmp_path / "x.test.hsl"
    file.write_text(text)

    async def collect() -> list[Result]:
        return [result async for result in run_file(file, SystemClock(), wanted)]

    return asyncio.run(collect())


def passes(tmp_path: Path, body: str, **files: str) -> None:
    (result,) = run(tmp_path, f'test("x", function () {{ {body} }});', **files)
    assert result.error is None, result.error


def error_of(tmp_path: Path, body: str, **files: str) -> str:
    (result,) = run(tmp_path, f'test("x", function () {{ {body} }});', **files)
    assert result.error is not None
    return result.error


def test_a_failed_expectation_is_shown_with_its_place(tmp_path: Path) -> None:
    error = error_of(tmp_path, 'expect(["a" => [1, 2]], ["a" => [1, 3]], "numbers");')
    assert error.startswith("error[R320]: numbers\n")
    assert f"{tmp_path}/x.test.hsl:1:" in error and "^^^" in error
    assert '= expected at ["a"][1]: 3' in error and '=      got at ["a"][1]: 2' in error


def test_expect_is_strict(tmp_path: Path) -> None:
    assert "1 (number)" in error_of(tmp_path, 'expect("1", 1);')
    passes(tmp_path, "expect([1], [1]); expect(none, none);")


def test_each_test_begins_anew(tmp_path: Path) -> None:
    body = """
        global $n;
        $n += 1;
        expect($n, 1);
        expect(rate("x", "y", 1, 60), true);
        expect(memory_add("k", 1), true);
        clock_advance(10);
    """
    results = run(tmp_path, f'$n = 0; test("a", function () {{ {body} }}); test("b", function () {{ {body} }});')
    assert [(r.name, r.error) for r in results] == [("a", None), ("b", None)]


def test_only_the_wanted_tests_run(tmp_path: Path) -> None:
    results = run(tmp_path, 'test("one", function () {}); test("two", function () {});', "tw")
    assert [r.name for r in results] == ["two"]


def test_the_clock_stands_still_and_is_moved(tmp_path: Path) -> None:
    passes(tmp_path, "$t = time(); clock_advance(3600); expect(time(), $t + 3600);")
    passes(tmp_path, 'rate("a", "b", 1, 60); clock_set(1000); expect(time(), 1000); expect(rate("a", "b", 1, 60), false);')
    passes(tmp_path, 'rate("a", "b", 1, 60); clock_set(time() + 100); expect(rate("a", "b", 1, 60), true);')


def test_expect_error(tmp_path: Path) -> None:
    passes(tmp_path, 'expect_error(function () { throw "no way"; }, "no way");')
    passes(tmp_path, 'expect_error(function () { return 1 / 0; }, "division by zero");')
    passes(tmp_path, 'expect_error(function () { rate("a", "b", 1, 0); }, "R108");')
    assert "there was none" in error_of(tmp_path, 'expect_error(function () {}, "x");')
    assert "= expected: other" in error_of(tmp_path, 'expect_error(function () { throw "no"; }, "other");')


def test_no_catch_holds_a_failed_expectation(tmp_path: Path) -> None:
    assert "R320" in error_of(tmp_path, "try { expect(1, 2); } catch ($e) { }")


def test_run_hook_gives_the_verdict(tmp_path: Path) -> None:
    script = 'echo "seen"; if ($senderdomain == "bad.example") Defer("Later", ["disconnect" => false]);'
    passes(
        tmp_path,
        """
        $r = run_hook("rcptto", "hook.hsl", ["senderdomain" => "bad.example"]);
        expect([$r["action"], $r["code"], $r["reason"], $r["echo"], $r["failed"]], ["defer", 450, "Later", ["seen"], false]);
        expect(run_hook("rcptto", ["hook.hsl"])["action"], "accept");
        """,
        hook=script,
    )


def test_run_hook_gives_a_scripts_error(tmp_path: Path) -> None:
    passes(
        tmp_path,
        """
        $r = run_hook("rcptto", "hook.hsl");
        expect([$r["action"], $r["failed"], $r["code"]], ["defer", true, 451]);
        expect($r["error"] =~ "division by zero", true);
        expect($r["error"] =~ "hook.hsl:1:", true);
        """,
        hook="echo 1 / 0;",
    )


def test_run_hook_with_a_message(tmp_path: Path) -> None:
    passes(
        tmp_path,
        r"""
        $facts = ["message" => "Subject: Hej\r\n\r\nBody\r\n", "recipients" => ["a@b.example", "c@d.example"]];
        $r = run_hook("data", "hook.hsl", $facts);
        expect(count($r["deliveries"]), 2);
        expect($r["deliveries"][1]["recipient"], "c@d.example");
        expect($r["deliveries"][0]["header"] =~ "X-Was: Hej", true);
        """,
        hook='AddHeader("X-Was", GetHeader("Subject"));',
    )


def test_run_hook_names_what_is_wrong(tmp_path: Path) -> None:
    assert "did you mean `rcptto`?" in error_of(tmp_path, 'run_hook("rcpto", "hook.hsl");', hook="")
    assert "unknown fact `sendr`" in error_of(tmp_path, 'run_hook("rcptto", "hook.hsl", ["sendr" => "x"]);', hook="")
    assert "`retry` wants a number" in error_of(tmp_path, 'run_hook("predelivery", "hook.hsl", ["retry" => "x"]);', hook="")
    assert "cannot read the script" in error_of(tmp_path, 'run_hook("rcptto", "none.hsl");')
    error = error_of(tmp_path, 'run_hook("rcptto", "hook.hsl");', hook="Dfer();")
    assert "unknown function `Dfer`" in error and "hook.hsl:1:1" in error


def test_scanners_answer_as_told(tmp_path: Path) -> None:
    script = 'SetMetaData(["sa" => "".ScanSA(), "rpd" => "".ScanRPD(), "rules" => "".count(ScanSA(["rules" => true]))]);'
    passes(
        tmp_path,
        """
        function marks() { return run_hook("data", "hook.hsl")["deliveries"][0]["metadata"]; }
        expect(marks(), ["sa" => "0", "rpd" => "0", "rules" => "0"]);
        scanner_answer("spamassassin", 4.5); scanner_answer("rspamd", 50);
        expect(marks(), ["sa" => "4.5", "rpd" => "50", "rules" => "0"]);
        scanner_answer("spamassassin", ["A" => 1, "B" => 2]); scanner_answer("rspamd", "fail");
        expect(marks(), ["sa" => "3", "rpd" => "0", "rules" => "2"]);
        """,
        hook=script,
    )
    clam = 'scanner_answer("clamd", ["A"]); expect(run_hook("data", "hook.hsl")["action"], "reject");'
    passes(tmp_path, clam, hook="if (ScanCLAM()) Reject();")
    assert "wants a list of names" in error_of(tmp_path, 'scanner_answer("clamd", 1);')
    assert "knows no scanner" in error_of(tmp_path, 'scanner_answer("spamassasin", 1);')
    assert "wants class 0, 10" in error_of(tmp_path, 'scanner_answer("rspamd", 7);')


def test_the_queue_answers_as_told(tmp_path: Path) -> None:
    script = 'Reject("" . GetMailQueueMetric(["filter" => ["senderdomain" => $senderdomain, "transportid" => ["a", "b"]]]));'
    passes(
        tmp_path,
        """
        expect(run_hook("rcptto", "hook.hsl")["reason"], "0");
        queue_answer([], 3);
        expect(run_hook("rcptto", "hook.hsl")["reason"], "3");
        queue_answer(["transportid" => ["b", "a"], "senderdomain" => "example.com"], 7);
        expect(run_hook("rcptto", "hook.hsl", ["senderdomain" => "example.com"])["reason"], "7");
        expect(run_hook("rcptto", "hook.hsl", ["senderdomain" => "example.org"])["reason"], "3");
        """,
        hook=script,
    )


def test_dns_answers_are_checked(tmp_path: Path) -> None:
    passes(
        tmp_path,
        """
        dns_answer("a.example", "A", ["192.0.2.1"]);
        dns_answer("a.example", "MX", [[10, "mx.a.example"], "mx2.a.example"]);
        dns_answer("b.example", "TXT", "SERVFAIL");
        dns_answer("a.example", "A", "NXDOMAIN");
        """,
    )
    assert "wants an array, or one of" in error_of(tmp_path, 'dns_answer("a", "A", "no");')
    assert "wants names, or [preference, name]" in error_of(tmp_path, 'dns_answer("a", "MX", [["x", "y"]]);')


def test_a_file_with_errors_is_one_failure(tmp_path: Path) -> None:
    (result,) = run(tmp_path, "expct(1, 1);")
    assert result.name is None and "did you mean `expect`?" in (result.error or "")
    (result,) = run(tmp_path, "echo 1 / 0;")
    assert result.name is None and "division by zero" in (result.error or "")
    (result,) = run(tmp_path, 'test("a", function () {}); test("a", function () {});')
    assert "two tests named" in (result.error or "")


def test_an_endless_test_is_stopped(tmp_path: Path) -> None:
    error = error_of(tmp_path, "while (true) {}")
    assert "R201" in error or "R203" in error, error  # steps or time, whichever this machine comes to first


def test_verdicts_do_not_exist_outside_of_hooks(tmp_path: Path) -> None:
    (result,) = run(tmp_path, "Accept();")
    assert "not outside of hooks" in (result.error or "")


def test_files_are_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("b.test.hsl", "a/c.test.hsl", "other.hsl"):
        (tmp_path / name).write_text("")
    assert [f.name for f in find_files([tmp_path, tmp_path / "b.test.hsl"])] == ["c.test.hsl", "b.test.hsl"]
    with pytest.raises(OperatorError):
        find_files([tmp_path / "none"])


def test_http_is_scripted(tmp_path: Path) -> None:
    passes(tmp_path, 'expect(http("http://a.example/"), none);')
    passes(
        tmp_path,
        """
        http_answer("http://a.example/*", "one");
        http_answer("http://a.example/b?x=1", ["status" => 404, "content" => "two", "headers" => ["X-A" => "b"]]);
        expect(http("http://a.example/b?x=$1", ["extended_result" => true], [1]), ["status" => 404, "content" => "two"]);
        $all = http("http://a.example/b?x=1", ["response_headers" => true]);
        expect($all, "HTTP/1.1 404 Not Found\\r\\nX-A: b\\r\\n\\r\\ntwo");
        expect(http("http://a.example/c", ["background" => true], [], function ($most) { return ""; }), true);
        expect(http("http://a.example/c", [], [], ["a" => 1]), "one");
        http_answer("http://a.example/*", 503);
        expect(http("http://a.example/c"), none);
        http_answer("*", none);
        expect(http("http://a.example/c", ["extended_result" => true]), none);
        expect(length(http_requests()), 6);
        expect(http_requests()[2]["background"], true);
        expect([http_requests()[3]["method"], http_requests()[3]["body"]], ["POST", "a=1"]);
        """,
    )
    assert "status" in error_of(tmp_path, 'http_answer("*", 99);')
    assert "did you mean `content`" in error_of(tmp_path, 'http_answer("*", ["contents" => "x"]);')


def test_look_ups_are_scripted(tmp_path: Path) -> None:
    passes(
        tmp_path,
        'expect(smtp_lookup_rcpt([], "", "a@b.example"), -1); expect(ident_lookup("192.0.2.1", 1, "::1", 2), none);',
    )
    passes(
        tmp_path,
        """
        $names = ["smtp_lookup_rcpt", "smtp_lookup_auth", "dovecot_lookup_auth", "radius_authen", "tacplus_authen"];
        $peer = ["host" => "h", "port" => 1, "secret" => "s"];
        foreach ([1, 0, -1] as $number) {
            foreach ($names as $name) lookup_answer($name, $number);
            expect(smtp_lookup_rcpt([], "", "a@b.example"), $number);
            expect(smtp_lookup_auth(["host" => "h"], "u", "p"), $number);
            expect(dovecot_lookup_auth(["host" => "h", "port" => 1], "u", "p"), $number);
            expect(radius_authen($peer, "u", "p"), $number);
            expect(tacplus_authen($peer, "u", "p"), $number);
        }
        lookup_answer("smtp_lookup_rcpt", ["error_code" => 450, "error_message" => "Later"]);
        $found = smtp_lookup_rcpt([], "", "a@b.example", ["extended_result" => true]);
        expect([$found["error_code"], $found["error_message"], $found["on_rcptto"]], [450, "Later", true]);
        lookup_answer("ident_lookup", ["os" => "UNIX", "username" => "joe"]);
        expect(ident_lookup("192.0.2.1", 1, "192.0.2.2", 2)["username"], "joe");
        lookup_answer("tacplus_author", ["a=b"]);
        expect(tacplus_author($peer, "u", []), ["a=b"]);
        lookup_answer("minger_lookup", 5);
        expect(minger_lookup("h", "a@b.example"), 5);
        """,
    )
    assert "did you mean `radius_authen`" in error_of(tmp_path, 'lookup_answer("radius_auth", 1);')
    assert "1, 0 or -1" in error_of(tmp_path, 'lookup_answer("radius_authen", 2);')
