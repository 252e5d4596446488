"""The end of DATA: recipients in turn, replies combined, copies committed together or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from hslpy.errors import OperatorError
from hslpy.scan.contract import ScannerFailed, SpamScore
from hslpy.scan.scripted import ScriptedClamd, ScriptedRspamd, ScriptedSpamAssassin
from tests.hooks.world import CONTENT, World

FOUR = ("a@x.org", "b@x.org", "c@x.org", "d@x.org")


def run(world: World, script: str, *recipients: str, **services: Any) -> Any:
    return world.run("data", script, world.data(*recipients), **services)


def people(verdict: Any) -> list[str]:
    return [str(one.recipient) for one in verdict.deliveries]


@pytest.mark.parametrize("script", ["", "Deliver();", "Deliver([]);"])
def test_everyone_is_delivered(world: World, script: str) -> None:
    verdict = run(world, script, *FOUR)
    assert (verdict.action, verdict.reply, people(verdict)) == ("accept", None, list(FOUR))
    assert all(one.header is None and one.body is None for one in verdict.deliveries)
    assert str(verdict.deliveries[0].sender) == "Someone@Example.com"
    assert verdict.deliveries[0].sender_params == {"SIZE": "100"}


def test_without_a_script_everyone_is_delivered(world: World) -> None:
    for hook in ("data", "eod"):
        verdict = world.run(hook, [], world.data(*FOUR))
        assert (verdict.action, people(verdict)) == ("accept", list(FOUR))


@pytest.mark.parametrize(
    ("actions", "action", "reply", "kept"),
    [
        ({"a": "Deliver();", "b": "Delete();"}, "accept", "None", ["a@x.org"]),
        ({"a": "Deliver();", "b": 'Quarantine("q", ["reject" => false]);'}, "accept", "None", ["a@x.org", "b@x.org"]),
        ({"a": "Deliver();", "b": 'Quarantine("q");'}, "reject", "550 5.7.1 Message refused by policy", ["b@x.org"]),
        ({"a": 'Quarantine("q");', "b": 'Defer("later");'}, "defer", "421 4.7.1 later", []),
        ({"a": 'Defer("later");', "b": 'Reject("never");'}, "reject", "550 5.7.1 never", []),
        ({"a": 'Reject("one");', "b": 'Reject("two");'}, "reject", "550 5.7.1 one", []),
        ({"a": 'Quarantine("q");', "b": 'Reject("never");'}, "reject", "550 5.7.1 never", ["a@x.org"]),
        ({"a": 'Quarantine("q", ["reject" => false]);', "b": 'Reject("never");'}, "reject", "550 5.7.1 never", []),
        ({"a": 'Deliver(["reason" => "taken"]);', "b": "Done();"}, "accept", "250 2.0.0 taken", ["a@x.org"]),
        ({"a": "Done();", "b": "Done();"}, "defer", "451 4.3.0 Message not handled, try again later", []),
        ({"a": "Delete();", "b": "Delete();"}, "accept", "None", []),
        ({"a": "Deliver();", "b": "$x = 1 / 0;"}, "defer", "451 4.3.0 Temporary policy failure", []),
        ({"a": 'Reject("x");', "b": "$x = 1 / 0;"}, "defer", "451 4.3.0 Temporary policy failure", []),
    ],
)
def test_replies_over_recipients(world: World, actions: dict[str, str], action: str, reply: str, kept: list[str]) -> None:
    script = "".join(f'if ($recipient == "{name}@x.org") {{ {code} }} ' for name, code in actions.items())
    verdict = run(world, script, *(f"{name}@x.org" for name in actions))
    assert (verdict.action, str(verdict.reply), people(verdict)) == (action, reply, kept)


def test_quarantine_holds(world: World) -> None:
    (delivery,) = run(world, 'Quarantine("mailquarantine:1", ["metadata" => ["why" => "spam"]]);').deliveries
    assert (delivery.hold, delivery.quarantine_id, delivery.metadata) == (True, "mailquarantine:1", {"why": "spam"})


def test_copies(world: World) -> None:
    script = """
        Deliver(["done" => false, "recipient" => "archive@x.org", "transportid" => "t2", "delay" => 60]);
        CopyMail("copy@x.org");
        echo $actionid;
    """
    verdict = run(world, script)
    assert people(verdict) == ["archive@x.org", "copy@x.org", "rcpt@example.org"]
    assert (verdict.deliveries[0].transport_id, verdict.deliveries[0].delay_s) == ("t2", 60.0)
    assert world.echoed() == ["3"]


def test_positional_forms(world: World) -> None:
    (delivery,) = run(world, 'Deliver("other@x.org", "t2");').deliveries
    assert (str(delivery.recipient), delivery.transport_id) == ("other@x.org", "t2")
    verdict = run(world, 'Quarantine("q", "other@x.org", "t3", ["reject" => false, "reason" => "kept"]);')
    assert (verdict.action, str(verdict.reply)) == ("accept", "250 2.0.0 kept")
    assert (str(verdict.deliveries[0].recipient), verdict.deliveries[0].transport_id) == ("other@x.org", "t3")


def test_header_edits_are_shared_and_unseen(world: World) -> None:
    script = """
        if ($recipient == "b@x.org") {
            AddHeader("X-Spam", "yes\\r\\nBcc: evil@example.com");
            SetHeader("Subject", "[spam] " . GetHeader("Subject"));
            echo GetHeader("X-Spam") . "|" . GetHeader("subject") . "|" . count(GetHeaders(true));
        }
    """
    verdict = run(world, script, *FOUR)
    headers = [one.header for one in verdict.deliveries]
    edited = (
        b"X-Spam: yes Bcc: evil@example.com\r\nReceived: from a by b\r\nSubject: [spam] Hello\r\nFrom: a@example.com\r\n\r\n"
    )
    assert headers == [None, edited, edited, edited]
    assert headers[1] is headers[2]
    assert world.echoed() == ["|Hello|3"]


def test_discarding_edits(world: World) -> None:
    (delivery,) = run(world, 'AddHeader("A", "1"); DelHeader("Subject"); echo DiscardMailDataChanges();').deliveries
    assert delivery.header is None
    assert world.echoed() == ["2"]


def test_setters_change_the_variables(world: World) -> None:
    script = """
        if ($recipient == "a@x.org") {
            SetMetaData(["m" => $recipient]);
            SetSender("New@Sender.org");
            SetRecipient("Other@y.org");
            SetMailTransport("t9");
            SetDelayedDeliver(30);
        }
        echo [$sender, $senderdomain, $recipient, $recipientdomain, $transportid, GetMetaData()];
    """
    verdict = run(world, script, "a@x.org", "b@x.org")
    assert world.echoed() == [
        '[0=>"new@sender.org",1=>"sender.org",2=>"other@y.org",3=>"y.org",4=>"t9",5=>["m"=>"a@x.org"]]',
        '[0=>"new@sender.org",1=>"sender.org",2=>"b@x.org",3=>"x.org",4=>"default",5=>["m"=>"a@x.org"]]',
    ]
    first, second = verdict.deliveries
    assert (str(first.recipient), first.transport_id, first.delay_s) == ("Other@y.org", "t9", 30.0)
    assert (str(second.recipient), second.transport_id, second.delay_s) == ("b@x.org", "default", 0.0)
    assert [str(one.sender) for one in verdict.deliveries] == ["New@Sender.org"] * 2


def test_sender_changes_for_earlier_recipients_too(world: World) -> None:
    verdict = run(world, 'if ($recipient == "b@x.org") SetSender("late@x.org");', "a@x.org", "b@x.org")
    assert [str(one.sender) for one in verdict.deliveries] == ["late@x.org"] * 2


def test_metadata_wants_texts(world: World) -> None:
    assert run(world, 'SetMetaData(["n" => 5]);').failed
    assert 'metadata wants strings, got number under "n"' in world.failure()


def test_scans_are_made_once_a_message(world: World) -> None:
    spamd, rspamd = ScriptedSpamAssassin(SpamScore(6.5, {"A": 5.0, "B": 1.5})), ScriptedRspamd(50)
    script = (
        'echo [ScanSA(), ScanSA(["rules" => true])["A"], ScanRPD(), ScanRPD(["extended_result" => true])["spam_class"]];'
    )
    run(world, script, "a@x.org", "b@x.org", spamassassin=spamd, rspamd=rspamd)
    assert world.echoed() == ['[0=>6.5,1=>5,2=>50,3=>"bulk"]'] * 2
    assert len(spamd.requests) == len(rspamd.requests) == 1
    assert spamd.requests[0].content == CONTENT
    assert spamd.requests[0].recipients == ("a@x.org", "b@x.org")


def test_scanner_that_fails(world: World) -> None:
    failing = ScriptedSpamAssassin(ScannerFailed("no answer"))
    assert run(world, "echo ScanSA();", "a@x.org", "b@x.org", spamassassin=failing).action == "accept"
    assert world.echoed() == ["0", "0"]
    assert len(world.logged("hooks.scanner_failed")) == 1
    world.context.scans = ("", {})
    failing = ScriptedSpamAssassin(ScannerFailed("no answer"))
    verdict = run(world, "ScanSA(); Deliver();", "a@x.org", "b@x.org", spamassassin=failing, scanner_failure="defer")
    assert (verdict.action, str(verdict.reply), people(verdict)) == (
        "defer",
        "451 4.3.0 Temporary content scanner failure",
        [],
    )


def test_virus_scans(world: World) -> None:
    clamd = ScriptedClamd(["Win.Test", "Doc.Test"])
    script = """
    echo ScanCLAM(); echo ScanCLAM(["signature_exclude" => ["Doc.Test", "x"]]); echo ScanCLAM(["extended_result" => true]);
    """
    run(world, script, "a@x.org", "b@x.org", clamd=clamd)
    both = '[0=>"Win.Test",1=>"Doc.Test"]'
    assert world.echoed() == [both, '[0=>"Win.Test"]', f'["rules"=>{both}]'] * 2
    assert len(clamd.requests) == 1
    world.context.scans = ("", {})
    failing = ScriptedClamd(ScannerFailed("no answer"))
    run(world, 'echo ScanCLAM() ? 1 : 0; echo ScanCLAM(["extended_result" => true])["error"];', clamd=failing)
    assert world.echoed()[-2:] == ["0", "true"]
    assert world.logged("hooks.scanner_failed")[-1]["answer"] == "nothing found"
    assert run(world, 'ScanCLAM(["signature_exclude" => [1]]);', clamd=clamd).failed


def test_scanners_of_no_kind_here_are_named_but_not_called(world: World) -> None:
    wrapper = """
    function ScanKAV(...$args) { $found = builtin ScanKAV(...$args); echo "scanned"; return $found; }
    $outbreak = ScanRPDAV;
    """
    assert not run(world, wrapper + 'echo "unused"; Deliver();').failed
    assert run(world, wrapper + "if (ScanKAV()) Reject();").failed
    assert "ScanKAV() wants a scanner of a kind that cannot be configured" in str(world.logged("hooks.script_error")[-1])
    assert run(world, wrapper + "if ($outbreak() == 100) Reject();").failed
    assert world.echoed() == ["unused"]


def test_scanner_that_is_not_configured(world: World) -> None:
    assert run(world, "ScanSA();", spamassassin=None).failed
    assert "set `[scanners.spamassassin]`" in world.failure()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('Deliver(["transport" => "x"]);', "did you mean `transportid`?"),
        ("Deliver(5);", "Deliver() wants"),
        ('Deliver("nobody@@");', "wants an address"),
        ('Quarantine("q", ["delay" => 5]);', "unknown option `delay`"),
        ('AddHeader("X Y", "z");', "cannot be the name"),
        ("SetDelayedDeliver(-1);", "at least 0 seconds"),
    ],
)
def test_mistakes(world: World, script: str, message: str) -> None:
    assert run(world, script).failed
    assert message in world.failure()


def test_modern_form_queues_through_the_message(world: World) -> None:
    script = """
        $mail = $arguments["mail"];
        $mail->addHeader("X-A", "1")->addHeader("X-B", "2");
        foreach ($transaction["recipients"] as $i => $r) {
            $id = $mail->queue($transaction["senderaddress"], $r["address"], $r["transportid"],
                ["metadata" => ["n" => "$i"], "jobid" => "job", "delay" => 5]);
            echo $id;
        }
        Accept(["reason" => "thanks"]);
    """
    verdict = world.run("eod", script, world.data("a@x.org", "B@x.org"))
    assert (verdict.action, str(verdict.reply)) == ("accept", "250 2.0.0 thanks")
    assert people(verdict) == ["a@x.org", "B@x.org"]
    assert [one.metadata for one in verdict.deliveries] == [{"n": "0"}, {"n": "1"}]
    assert verdict.deliveries[0].header == b"X-B: 2\r\nX-A: 1\r\n" + CONTENT.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert (verdict.deliveries[0].job_id, verdict.deliveries[0].delay_s) == ("job", 5.0)
    assert world.echoed() == ['["transaction"=>"message-1","queue"=>1]', '["transaction"=>"message-1","queue"=>2]']


@pytest.mark.parametrize(
    ("script", "action", "kept"),
    [
        ("", "defer", 0),
        ('$arguments["mail"]->queue("a@x.org", "b@x.org", "t");', "defer", 0),
        ('$arguments["mail"]->queue("a@x.org", "b@x.org", "t"); Reject("no");', "reject", 0),
        ('$arguments["mail"]->queue("a@x.org", "b@x.org", "t", ["hold" => true]); Reject("no");', "reject", 1),
        ('$arguments["mail"]->queue("", "b@x.org", "t"); Accept();', "accept", 1),
        ("Accept();", "accept", 0),
    ],
)
def test_modern_form_decides_for_itself(world: World, script: str, action: str, kept: int) -> None:
    verdict = world.run("eod", script)
    assert (verdict.action, len(verdict.deliveries), verdict.failed) == (action, kept, False)
    assert all(one.quarantine_id is not None for one in verdict.deliveries if verdict.action == "reject")


@pytest.mark.parametrize(
    ("arguments", "reply"),
    [
        ('["reason" => "thanks", "reply_codes" => ["code" => 252]]', "252 2.0.0 thanks"),
        ('"thanks", ["reply_codes" => ["code" => 252]]', "252 2.0.0 thanks"),
        ('["thanks"], []', "250 2.0.0 thanks"),
        ('["thanks"]', "250 2.0.0 thanks"),
        ('"thanks"', "250 2.0.0 thanks"),
    ],
)
def test_accept_takes_its_reason_both_ways(world: World, arguments: str, reply: str) -> None:
    assert str(world.run("eod", f"Accept({arguments});").reply) == reply


def test_modern_header_methods(world: World) -> None:
    script = """
        $mail = $arguments["mail"];
        echo [$mail->getHeader("subject"), $mail->getHeader("X") ?? "-", $mail->getHeaderNames(), $mail->getSize(),
            $mail->getHeader("Subject", ["field" => true]), $mail->getHeaders("Received"), is_object($mail)];
        $id = $mail->snapshot();
        $mail->setHeader("Subject", "one");
        $mail->restore($id);
        $mail->delHeader("From");
        echo $mail->toString();
    """
    world.run("eod", script)
    values, text = world.echoed()
    assert values == (
        '[0=>"Hello",1=>"-",2=>[0=>"received",1=>"subject",2=>"from"],3=>71,'
        '4=>"Subject: Hello\r\n",5=>[0=>"from a by b"],6=>true]'
    ).replace("71", str(len(CONTENT)))
    assert text == "Received: from a by b\r\nSubject: Hello\r\n\r\nBody\r\n"


def test_a_modern_script_may_take_a_classic_name_for_its_own(world: World) -> None:
    """Scripts of the modern form don't know that `$sender` and its kin are predefined for the classic one."""
    script = """
    $sender = $transaction["senderaddress"];
    $recipients = [];
    foreach ($transaction["recipients"] as $recipient)
        $recipients[] = $recipient["address"];
    foreach ($recipients as $recipient)
        $arguments["mail"]->queue($sender, $recipient, "mailtransport:1", ["metadata" => ["to" => $recipient["domain"]]]);
    Accept();
    """
    verdict = world.run("eod", script, world.data("a@one.example", "b@two.example"))
    assert verdict.action == "accept" and not verdict.failed
    assert [(str(d.recipient), d.metadata["to"]) for d in verdict.deliveries] == [
        ("a@one.example", "one.example"),
        ("b@two.example", "two.example"),
    ]


def test_a_script_that_assigns_a_classic_name_reads_the_fact_until_then(world: World) -> None:
    verdict = world.run("rcptto", '$before = $senderdomain; $senderdomain = "x"; Reject("$before $senderdomain");')
    assert verdict.reply is not None and verdict.reply.text == "example.com x"


def test_the_modern_arrays_stay_read_only(world: World) -> None:
    with pytest.raises(OperatorError, match="E205"):
        world.hooks({"rcptto": "$transaction = [];"})
