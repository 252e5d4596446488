"""Each verdict that the log shows names the line of the script that gave it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hooks.world import World


def placed(world: World, tmp_path: Path, hook: str, script: str) -> str:
    """Give a verdict's `by` without the folder."""
    file = tmp_path / "policy.hsl"
    file.write_text(script)
    return str(world.run(hook, file).by).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("hook", "script", "by"),
    [
        ("rcptto", '$x = 1;\nif ($x == 1)\n    Reject("no");', "policy.hsl:3"),
        ("auth", "\nReject();", "policy.hsl:2"),
        ("mailfrom", "$x = 1;", ""),
        (
            "rcptto",
            'function Reject($why) {\n    builtin Reject($why);\n}\nif (true) {\n    Reject("no");\n}',
            "policy.hsl:2, called from policy.hsl:5",
        ),
        ("data", '$x = 1;\nDefer("later");', "policy.hsl:2"),
        ("data", "if ($recipient == $recipients[0])\n    Reject();\nDeliver();", "policy.hsl:2"),
        ("data", '\nQuarantine("mailquarantine:1");', "policy.hsl:2"),
        ("data", "$x = 1;", ""),
        ("eod", "\n\nAccept();", "policy.hsl:3"),
        ("predelivery", '\nQueue(["delay" => 60]);', "policy.hsl:2"),
        ("predelivery", 'SetSourceIP("netaddr:1");\nTry();', "policy.hsl:1"),
        ("predelivery", 'SetSourceIP("netaddr:1");\n', "policy.hsl:1"),
        ("predelivery", 'SetSourceIP("netaddr:1");\nBounce();', "policy.hsl:2"),
        ("predelivery", '\nTry(["sourceip" => ["1"]]);', "policy.hsl:2"),
        ("postdelivery", "\nBounce();", "policy.hsl:2"),
        ("postdelivery", "$x = 1 / 0;", ""),
    ],
)
def test_the_line_that_decided(world: World, tmp_path: Path, hook: str, script: str, by: str) -> None:
    assert placed(world, tmp_path, hook, script) == by
