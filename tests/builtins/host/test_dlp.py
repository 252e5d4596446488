"""ScanDLP and dlp(): rules of the settings and of scripts, the shapes of results, one scan a message."""

from __future__ import annotations

from typing import Any

import pytest

from hslpy.scan.dlp import DlpEngine, DlpOptions, DlpResult, DlpRule, DlpSettings
from tests.hooks.world import World

CONTENT = (
    b"From: a@example.com\r\nSubject: plans\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    b"--x\r\n\r\ntop secret\r\n--x\r\nContent-Disposition: attachment; filename=run.exe\r\n\r\nMZ\r\n"
    b"--x\r\nContent-Disposition: attachment; filename=bad.zip\r\n\r\nPK\x03\x04\r\n--x--\r\n"
)
RULES = (DlpRule("SECRET", regex=("/top secret/",)), DlpRule("PROGRAM", filename=("/[.]exe$/",)))


class Counting(DlpEngine):
    count = 0

    async def scan(self, content: bytes, rules: Any, options: DlpOptions | None = None) -> DlpResult:
        self.count += 1
        return await super().scan(content, rules, options or DlpOptions())


def echoed(world: World, script: str, hook: str = "data", engine: DlpEngine | None = None) -> list[str]:
    engine = engine or DlpEngine(DlpSettings(RULES))
    event = world.data("a@x.example", "b@x.example", content=CONTENT) if hook == "data" else world.data(content=CONTENT)
    assert not world.run(hook, script, event, dlp=engine).failed, world.failure()
    return world.echoed()


@pytest.mark.parametrize("hook", ["data", "eod"])
def test_rules_of_the_settings(world: World, hook: str) -> None:
    script = """
    echo ScanDLP(); echo ScanDLP(["SECRET"]); echo ScanDLP(["PROGRAM", "ERR_UNKNOWN_ERROR"], ["partid" => true]);
    echo ScanDLP(["SECRET"], ["extended_result" => true]);
    """
    assert echoed(world, script, hook)[:4] == [
        '[0=>"SECRET",1=>"PROGRAM",2=>"ERR_UNKNOWN_ERROR"]',
        '[0=>"SECRET",1=>"ERR_UNKNOWN_ERROR"]',
        '[0=>["partid"=>"2","rule"=>"PROGRAM"],1=>["partid"=>"3","rule"=>"ERR_UNKNOWN_ERROR"]]',
        '["rules"=>[0=>"SECRET",1=>"ERR_UNKNOWN_ERROR"],"error"=>true]',
    ]
    assert {fields["problem"] for fields in world.logged("hooks.dlp_incomplete")} == {
        "archive bad.zip: File is not a zip file"
    }


def test_rules_of_a_script(world: World) -> None:
    script = """
    echo ScanDLP(["A" => ["filename" => ["\\\\.EXE$"], "sha1hash" => []], "B" => ["mimetype" => "/dosexec/"], "SECRET"],
        ["stop_on_match" => true]);
    echo ScanDLP(["C" => ["regex" => ["/^Subject: plans/m"]]], ["partid" => true, "timeout" => 5])[0];
    echo ScanDLP(["C" => []], ["recursion_limit" => 0, "extended_result" => true]);
    """
    assert echoed(world, script, "eod") == [
        '[0=>"SECRET"]',
        '["partid"=>"0","rule"=>"C"]',
        '["rules"=>[0=>"ERR_RECURSION_LIMIT"]]',
    ]


def test_one_scan_for_all_recipients(world: World) -> None:
    engine = Counting(DlpSettings(RULES))
    echoed(world, 'ScanDLP(); ScanDLP(); ScanDLP([], ["partid" => true]); ScanDLP(["SECRET"]);', engine=engine)
    assert engine.count == 2


def test_the_plugin(world: World) -> None:
    (world.folder / "mail.eml").write_bytes(CONTENT)
    script = """
    import { dlp } from "extras://dlp";
    $file = File("mail.eml"); $file->read(10);
    $rules = ["SECRET", ["name" => "EXE", "filename" => ["/exe/"]]];
    echo dlp($file, ["id" => "x", "path" => "/run/dlpd.sock", "rules" => $rules]);
    echo dlp($file, ["short_circuit" => true, "time_limit" => 10, "rules" => ["SECRET"]])["result"][0]["rule"];
    """
    assert echoed(world, script, "eod") == [
        '["result"=>[0=>["partid"=>"1","rule"=>"SECRET"],1=>["partid"=>"2","rule"=>"EXE"],'
        '2=>["partid"=>"3","rule"=>"ERR_UNKNOWN_ERROR"]]]',
        "SECRET",
    ]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ('ScanDLP(["SECRETS"])', "did you mean `SECRET`?"),
        ("ScanDLP([5])", "wants names of rules"),
        ('ScanDLP(["A" => ["filenames" => []]])', "did you mean `filename`?"),
        ('ScanDLP(["A" => ["filename" => [1]]])', "wants strings"),
        ('ScanDLP(["A" => ["regex" => ["/(/"]]])', "rule A has a bad regex"),
        ('ScanDLP([], ["recursion_limit" => 51])', "wants `recursion_limit`"),
        ('ScanDLP([], ["attachmentid" => true])', "not supported here"),
        ('ScanDLP([], ["timeout" => -1])', "wants `timeout`"),
        ('dlp(File("mail.eml"), ["rules" => [["filename" => []]]])', "wants a `name` of each rule"),
    ],
)
def test_mistakes(world: World, expression: str, message: str) -> None:
    (world.folder / "mail.eml").write_bytes(CONTENT)
    assert world.run("eod", expression + ";", dlp=DlpEngine(DlpSettings(RULES))).failed
    assert message in world.failure()
