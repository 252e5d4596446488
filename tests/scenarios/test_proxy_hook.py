"""The proxy hook in a whole server: commands answered, rewritten and let through, over a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.scenarios.harness import Client, Scenario, server


def run(
    folder: Path, proxy: str, talk: Callable[[Scenario, Client], Awaitable[None]], settings: str = "", **scripts: str
) -> None:
    """Talk to a server with this proxy script, and `scripts` at other hooks."""

    async def scenario() -> None:
        text = settings + "\n[hooks]\n"
        for name, script in {"proxy": proxy, **scripts}.items():
            (folder / f"{name}.hsl").write_text(script)
            text += f'{name} = "{folder}/{name}.hsl"\n'
        async with server(folder, text, deliver=False) as s:
            await talk(s, await s.client())

    asyncio.run(scenario())


async def rest(client: Client) -> str:
    return (await asyncio.wait_for(client.reader.read(), 60)).decode("ascii")


def test_a_command_of_ones_own(tmp_path: Path) -> None:
    script = """
    $parts = explode(" ", $arguments["command"]);
    if ($parts[0] == "XSTATUS")
        Reply(
            ["helo " . ($connection["helo"]["host"] ?? "none"), "sender " . ($transaction["sender"] ?? "none")],
            ["next" => true]
        );
    if ($parts[0] == "XREFUSE")
        Reply("Not you", ["reply_codes" => ["code" => 550, "enhanced" => [5, 7, 1]], "next" => true]);
    if ($parts[0] == "XEND")
        Reply("Bye", ["disconnect" => true]);
    Pass(["next" => true]);
    """

    async def talk(s: Scenario, client: Client) -> None:
        assert await client.say("XSTATUS") == "250-2.0.0 helo none\n250 2.0.0 sender none"
        assert (await client.say("EHLO client.test")).startswith("250-mail.example.com\n")
        await client.say("MAIL FROM:<A@Example.com>")
        assert await client.say("XSTATUS x\xff") == "250-2.0.0 helo client.test\n250 2.0.0 sender a@example.com"
        assert await client.say("XREFUSE") == "550 5.7.1 Not you"
        assert await client.say("RCPT TO:<b@example.net>") == "250 2.1.5 Recipient ok"
        assert (await client.say("DATA")).startswith("354 ")
        # What is no command line is not the hook's: the words in a message least of all.
        assert (await client.say("Subject: x\r\n\r\nXEND\r\n.")).startswith("250 2.0.0 Ok: queued")
        assert await client.say("XEND") == "250 2.0.0 Bye"
        assert await rest(client) == ""
        (refused,) = s.fields_of("smtp.refused")
        assert (refused["hook"], refused["reply"]) == ("proxy", "550 5.7.1 Not you")
        assert str(refused["by"]).endswith("proxy.hsl:9")
        assert len(s.app.queue) == 1

    run(tmp_path, script, talk)


def test_a_rewritten_command(tmp_path: Path) -> None:
    script = """
    $command = $arguments["command"];
    if ($command =~ "^HELO (.*)$")
        Pass(["command" => "EHLO " . $command[5:], "next" => true]);
    if ($command == "XMAIL")
        Pass(["command" => "MAIL FROM:<from-the-script@example.com>", "next" => true]);
    if ($command == "XLONG")
        Pass(["command" => "NOOP " . str_repeat("x", 600), "next" => true]);
    if ($command == "X8BIT")
        Pass(["command" => "MAIL FROM:<\\xff@example.com>", "next" => true]);
    if ($command == "XTAB")
        Pass(["command" => "NOOP \\x01", "next" => true]);
    if ($command == "XNONE")
        Pass(["command" => "", "next" => true]);
    Pass(["next" => true]);
    """

    async def talk(s: Scenario, client: Client) -> None:
        assert "250 HELP" in await client.say("HELO client.test")
        assert await client.say("XLONG") == "500 5.5.2 Line too long"
        assert await client.say("X8BIT") == "553 5.6.7 Internationalized addresses need SMTPUTF8 and valid UTF-8"
        assert await client.say("XTAB") == "500 5.5.2 Control and 8-bit characters are not allowed in a command"
        assert (await client.say("XNONE")).startswith("500 5.5.1")
        assert await client.say("XMAIL") == "250 2.1.0 Sender ok"
        assert (await client.say("RCPT TO:<b@example.net>")).startswith("250")

    run(tmp_path, script, talk)


@pytest.mark.parametrize("script", ["", "Pass();", 'Pass(["next" => false]);', '$context = 1; Pass(["command" => "NOOP"]);'])
def test_without_next_it_has_run_for_the_last_time(tmp_path: Path, script: str) -> None:
    async def talk(s: Scenario, client: Client) -> None:
        assert await client.say("NOOP") == "250 2.0.0 Ok"
        assert (await client.say("EHLO client.test")).startswith("250-")
        assert await client.say("XSTATUS") == "500 5.5.1 Command not recognized"
        assert [fields["text"] for fields in s.fields_of("hooks.echo")] == ["NOOP"]

    run(tmp_path, 'echo $arguments["command"];\n' + script, talk)


def test_next_counts_from_run_to_run(tmp_path: Path) -> None:
    script = """
    $context += 1;
    Reply("number $context", ["next" => $context < 3]);
    """

    async def talk(s: Scenario, client: Client) -> None:
        client.writer.write(b"NOOP\r\n" * 5)
        for wanted in ("250 2.0.0 number 1", "250 2.0.0 number 2", "250 2.0.0 number 3", "250 2.0.0 Ok", "250 2.0.0 Ok"):
            assert await client.reply() == wanted

    run(tmp_path, "$context = $context ?? 0;" + script, talk)


def test_a_failing_script_ends_the_connection(tmp_path: Path) -> None:
    async def talk(s: Scenario, client: Client) -> None:
        client.writer.write(b"EHLO client.test\r\nMAIL FROM:<a@example.com>\r\n")
        assert await rest(client) == "421 4.3.0 Temporary policy failure\r\n"
        assert s.events()["hooks.script_error"] == 1
        (refused,) = s.fields_of("smtp.refused")
        assert (refused["hook"], refused["failed"]) == ("proxy", True)

    run(tmp_path, "echo 1 / 0;", talk)


@pytest.mark.parametrize("end", ["\\r\\nRSET", "\\nRSET", "\\r", "\\x00"])
def test_no_second_command_in_one(tmp_path: Path, end: str) -> None:
    async def talk(s: Scenario, client: Client) -> None:
        assert await client.say("NOOP") == "421 4.3.0 Temporary policy failure"
        assert await rest(client) == ""

    run(tmp_path, f'Pass(["command" => "NOOP{end}"]);', talk)


def test_pipelined_commands_keep_their_order(tmp_path: Path) -> None:
    """Each is answered before the next is looked at, however long its script waits."""
    script = """
    echo $arguments["command"];
    if ($arguments["command"] == "XSLOW") {
        sleep(0.05);
        Reply("slow", ["next" => true]);
    }
    Pass(["next" => true]);
    """

    async def talk(s: Scenario, client: Client) -> None:
        await client.say("EHLO client.test")
        client.writer.write(b"XSLOW\r\nMAIL FROM:<a@example.com>\r\nXSLOW\r\nRCPT TO:<b@example.net>\r\nNOOP\r\nDATA\r\n")
        got = [await client.reply() for _ in range(6)]
        assert [reply[:9] for reply in got] == [
            "250 2.0.0",
            "250 2.1.0",
            "250 2.0.0",
            "250 2.1.5",
            "250 2.0.0",
            "354 End d",
        ]
        assert got[0] == got[2] == "250 2.0.0 slow"
        client.writer.write(b"XSLOW\r\n.\r\nXSLOW\r\nQUIT\r\n")
        assert (await rest(client)).startswith("250 2.0.0 Ok: queued as ")
        assert [fields["text"] for fields in s.fields_of("hooks.echo")] == [
            "EHLO client.test",
            "XSLOW",
            "MAIL FROM:<a@example.com>",
            "XSLOW",
            "RCPT TO:<b@example.net>",
            "NOOP",
            "DATA",
            "XSLOW",
            "QUIT",
        ]

    run(tmp_path, script, talk)


def test_what_is_no_line_is_not_shown(tmp_path: Path) -> None:
    """Nor does it use up the hook's turn."""

    async def talk(s: Scenario, client: Client) -> None:
        for line in (b"XSTATUS\n", b"XSTA\rTUS\r\n", b"XSTA\0TUS\r\n", b"X" * 13_000 + b"\r\n"):
            client.writer.write(line)
            assert (await client.reply()).startswith("500 5.5.")
        assert await client.say("XSTATUS") == "250 2.0.0 first"

    run(tmp_path, 'Reply("first");', talk)


def test_relaying_stays_closed(tmp_path: Path) -> None:
    script = 'Pass(["command" => pcre_replace("^X", "", $arguments["command"]), "next" => true]);'

    async def talk(s: Scenario, client: Client) -> None:
        await client.say("XEHLO client.test")
        await client.say("XMAIL FROM:<a@example.com>")
        assert (await client.say("XRCPT TO:<b@example.net>")).startswith("550 5.7.1 Relaying denied")
        assert (await client.say("XAUTH PLAIN AGEAYg==")).startswith("503 5.5.1")
        await client.say("RSET")
        assert (await client.say("XAUTH PLAIN AGEAYg==")).startswith("538 5.7.11")

    run(tmp_path, script, talk, '[smtp]\nrelay_networks = ["192.0.2.0/24"]\n', rcptto="Accept();", auth="Accept();")
