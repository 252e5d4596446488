"""getenv(), logger(), bounce_list() and the class Redis, each imported as the vendor's modules have them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hslpy.client.bounce_lists import BounceLists, BounceListSettings
from hslpy.client.logfiles import LogFiles, LogFileSettings
from hslpy.errors import OperatorError
from hslpy.store.profiles import RedisProfile, RedisProfiles
from tests.hooks.world import World
from tests.support.redis_server import RedisServer


def echoed(world: World, script: str, **services: Any) -> list[str]:
    verdict = world.run("rcptto", script, **services)
    assert not verdict.failed, world.failure()
    return world.echoed()


def failure(world: World, script: str, **services: Any) -> str:
    assert world.run("rcptto", script, **services).failed
    return world.failure()


# getenv() ----------------------------------------------------------------------------------------


def test_getenv_reads_what_the_operator_allows(world: World) -> None:
    script = 'import { getenv } from "extras://env"; echo [getenv("REGION"), getenv("UNSET"), getenv("HOME")];'
    (line,) = echoed(world, script, environment={"REGION": "eü", "UNSET": None})
    assert line == '[0=>"eü",1=>none,2=>none]'
    (refused,) = world.logged("hooks.environment_refused")
    assert refused["name"] == "HOME"


# logger() ----------------------------------------------------------------------------------------

LOGGER = 'import { logger } from "extras://logger"; '


def test_logger_appends_in_order_and_follows_rotation(world: World, tmp_path: Path) -> None:
    path = tmp_path / "my.log"
    files = LogFiles([LogFileSettings("mylog", path, fsync=True)])
    for _ in range(2):
        script = LOGGER + 'echo logger("mylog", "one\\n"); echo logger("mylog", "\\xff\\n");'
        assert echoed(world, script, log_files=files)[-2:] == ["true", "true"]
    assert path.read_bytes() == b"one\n\xff\none\n\xff\n"
    assert path.stat().st_mode & 0o007 == 0
    path.rename(tmp_path / "my.log.1")
    echoed(world, LOGGER + 'logger("mylog", "two\\n");', log_files=files)
    assert path.read_bytes() == b"two\n"
    asyncio.run(files.close())


def test_logger_that_cannot_write_gives_none(world: World, tmp_path: Path) -> None:
    files = LogFiles([LogFileSettings("mylog", tmp_path / "missing/my.log")])
    assert echoed(world, LOGGER + 'echo logger("mylog", "x") ?? "none";', log_files=files) == ["none"]
    assert world.logged("hooks.logger_failed")[0]["file"] == "mylog"
    text = failure(World(tmp_path), LOGGER + 'logger("mylgo", "x");', log_files=files)
    assert 'logger() knows no log file "mylgo"' in text and "mylog" in text
    asyncio.run(files.close())


# bounce_list() -----------------------------------------------------------------------------------

LIST = r"""# comment
/550 5.7.1 Email quota exceeded\./,other,&google,EOD
/550 5.7.1 Email quota exceeded\./,google,&google
/550 5.7.1\./,"suspend=60,tag=x","&hotmail,&office365",,a comment
"/a{2,3}/",commas
/.*/,rest
"""
BOUNCE = 'import { bounce_list } from "extras://bounce-list"; '


@pytest.fixture
def bounces(tmp_path: Path) -> BounceLists:
    (tmp_path / "list.csv").write_text(LIST)
    return BounceLists([BounceListSettings("list1", tmp_path / "list.csv")])


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ('"550 5.7.1 email quota exceeded.", "&google", "EOD"', "other"),
        ('"550 5.7.1 Email quota exceeded.", "&google", "MAIL"', "google"),
        ('"550 5.7.1 Email quota exceeded.", "&google"', "google"),
        ('"550 5.7.1.", "&office365"', "suspend=60,tag=x"),
        ('"550 5.7.1.", "&google"', "rest"),
        ('"baab"', "commas"),
        ('"550", none, none', "rest"),
    ],
)
def test_bounce_lists(world: World, bounces: BounceLists, arguments: str, value: str) -> None:
    script = BOUNCE + f'echo bounce_list("list1", {arguments})["value"]; echo bounce_list("list1", none) ?? "none";'
    assert echoed(world, script, bounce_lists=bounces) == [value, "none"]


def test_bounce_lists_are_read_anew_and_keep_what_was_good(world: World, bounces: BounceLists, tmp_path: Path) -> None:
    script = BOUNCE + 'echo bounce_list("list1", "4.2.2 full");'
    assert echoed(world, script, bounce_lists=bounces)[-1] == '["pattern"=>".*","value"=>"rest"]'
    path = tmp_path / "list.csv"
    path.write_text("/4\\.2\\.2/,full\n")
    assert echoed(world, script, bounce_lists=bounces)[-1] == '["pattern"=>"4\\\\.2\\\\.2","value"=>"full"]'
    path.write_text("/(/,bad\nno pattern,x\n/a/\n")
    assert '"full"' in echoed(world, script, bounce_lists=bounces)[-1]
    with pytest.raises(OperatorError) as raised:
        bounces.check()
    for place in (
        f"{path}:1: bad regular",
        f"{path}:2: a line begins with a pattern",
        f"{path}:3: a line has 2 to 5 columns",
    ):
        assert place in raised.value.message


def test_an_unknown_bounce_list(world: World, bounces: BounceLists) -> None:
    assert 'bounce_list() knows no list "list2"' in failure(
        world, BOUNCE + 'bounce_list("list2", "x");', bounce_lists=bounces
    )


# Redis -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def with_redis(world: World, server: RedisServer, script: str, timeout_s: float = 5.0) -> list[str]:
    world.events.clear()
    profiles = RedisProfiles({name: RedisProfile(name, server.url, timeout_s) for name in ("", "other")})

    async def main() -> None:
        text = f'import {{ Redis }} from "extras://redis"; {script}'
        hooks = world.hooks({"rcptto": text}, None, redis=profiles)
        verdict = await hooks.run(hooks.current, "rcptto", world.event("rcptto"))
        await profiles.close()
        assert not verdict.failed, world.failure()

    asyncio.run(main())
    return world.echoed()


@pytest.mark.xdist_group("redis")
def test_redis_commands_and_their_replies(world: World, redis_server: RedisServer) -> None:
    script = """
        $redis = Redis();
        echo $redis->command("SET", "key", "v\\xff");
        echo $redis->command("GET", "key") === "v\\xff";
        echo $redis->command("GET", "missing") ?? "none";
        echo $redis->command("INCRBY", "n", 5) + 1;
        $redis->command("HSET", "h", "a", "1", "b", 2.5);
        echo $redis->command("HGETALL", "h");
        echo Redis("other")->command("EVAL", "return {1, {'two'}, false}", "0");
        try { $redis->command("INCR", "key"); } catch ($e) { echo $e->message(); }
        try { $redis->command("NONSENSE"); } catch ($e) { echo $e->message() =~ "unknown command"; }
    """
    assert with_redis(world, redis_server, script) == [
        "OK",
        "true",
        "none",
        "6",
        '[0=>"a",1=>"1",2=>"b",3=>"2.5"]',
        '[0=>1,1=>[0=>"two"],2=>none]',
        "Redis: value is not an integer or out of range",
        "true",
    ]


@pytest.mark.xdist_group("redis")
def test_redis_that_does_not_answer_is_an_error_to_catch(world: World) -> None:
    script = 'try { echo Redis()->command("PING"); } catch ($e) { echo $e->message(); } '
    with RedisServer() as server:
        server.freeze()
        assert with_redis(world, server, script, 0.1) == ["Redis: no answer in 0.1 s"]
    (text,) = with_redis(world, server, script)
    assert text.startswith("Redis: ")


def test_redis_profiles_that_are_not_there(world: World) -> None:
    profiles = RedisProfiles(
        {"": RedisProfile("", "redis://127.0.0.1:1"), "cache": RedisProfile("cache", "redis://127.0.0.1:1")}
    )
    assert 'Redis() knows no profile "cahce"' in failure(world, 'Redis("cahce");', redis=profiles)
    world.events.clear()
    assert "there is no Redis here" in failure(world, "Redis();")
    world.events.clear()
    assert "wants texts and numbers" in failure(world, 'Redis()->command("SET", []);', redis=profiles)
