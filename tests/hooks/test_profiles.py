"""What hooks and files do by their profile: verdicts of each year, and whose profile counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hslpy.errors import OperatorError
from hslpy.hooks.runner import Hooks
from hslpy.hooks.scripts import HookSettings, Loader
from hslpy.lang.profiles import NEWEST, PROFILES, SWITCHES, ProfileChoice, profile_of
from tests.hooks.world import World, wait_for

SILENT = "$x = 1;"


def hooks_in(world: World, profile: str, scripts: dict[str, str]) -> Hooks:
    hooks = world.hooks(scripts)
    hooks.settings = HookSettings(hooks.settings.scripts, hooks.settings.limits, profiles=ProfileChoice(profile_of(profile)))
    hooks.load()
    return hooks


def verdict(world: World, profile: str, hook: str, script: str) -> object:
    hooks = hooks_in(world, profile, {hook: script})
    return wait_for(hooks.run(hooks.current, hook, world.event(hook)))


@pytest.mark.parametrize(
    ("profile", "script", "action"),
    [
        ("2015", SILENT, "defer"),
        ("2016", SILENT, "defer"),
        ("2016", '$error = "no such user";', "reject"),
        ("2016", 'function f() { global $error; $error = "no"; } f();', "reject"),
        ("2016", "if (isset($error)) Accept();", "defer"),
        ("2017", SILENT, "reject"),
        ("2018", SILENT, "reject"),
        ("2019", SILENT, "accept"),
        ("newest", SILENT, "accept"),
        ("newest", '$error = "a variable like any other";', "accept"),
    ],
)
def test_the_end_of_rcpt_without_a_verdict(world: World, profile: str, script: str, action: str) -> None:
    assert verdict(world, profile, "rcptto", script).action == action  # type: ignore[attr-defined]


@pytest.mark.parametrize(("profile", "action"), [("2015", "reject"), ("2016", "defer"), ("newest", "defer")])
def test_a_failed_auth_script(world: World, profile: str, action: str) -> None:
    given = verdict(world, profile, "auth", "echo 1 / 0;")
    assert (given.action, given.failed) == (action, True)  # type: ignore[attr-defined]
    assert f"fell back to {action.capitalize()}" in world.failure()


@pytest.mark.parametrize(("profile", "settled"), [("2017", True), ("2019", True), ("newest", False)])
@pytest.mark.parametrize("script", ["Bounce();", "Delete();"])
def test_bounce_and_delete_before_delivery_ended_the_matter(world: World, profile: str, script: str, settled: bool) -> None:
    assert verdict(world, profile, "predelivery", script).settled == settled  # type: ignore[attr-defined]
    assert not verdict(world, profile, "predelivery", "Try();").settled  # type: ignore[attr-defined]


def test_of_several_scripts_the_last_ones_profile_ends_the_hook(world: World) -> None:
    hooks = world.hooks({"rcptto": [SILENT, SILENT]})
    first, last = hooks.settings.scripts["rcptto"]
    for old, action in ((first, "accept"), (last, "reject")):
        choice = ProfileChoice(NEWEST, {old: profile_of("2017")})
        hooks.settings = HookSettings(hooks.settings.scripts, profiles=choice)
        hooks.load()
        assert wait_for(hooks.run(hooks.current, "rcptto", world.event("rcptto"))).action == action


def test_a_booleans_variable_is_a_number_to_an_old_script(world: World) -> None:
    script = 'echo $saslauthed . ""; echo $connection["tls"] ?? "none"; Accept(["reason" => "" . $tlsstarted]);'
    given = verdict(world, "2017", "mailfrom", script)
    assert world.echoed() == ["0", "none"] and given.reply.text == "0"  # type: ignore[attr-defined]


def test_a_file_has_the_profile_of_the_longest_path(tmp_path: Path) -> None:
    (tmp_path / "old" / "inner").mkdir(parents=True)
    for name in ("main.hsl", "old/lib.hsl", "old/inner/deep.hsl"):
        (tmp_path / name).write_text("function f() { return true; }")
    main = tmp_path / "main.hsl"
    main.write_text(
        'import { f as lib } from "old/lib.hsl"; import { f as deep } from "old/inner/deep.hsl"; echo [lib(), deep()];'
    )
    choice = ProfileChoice(NEWEST, {tmp_path / "old": profile_of("2016"), tmp_path / "old" / "inner": NEWEST})
    loader = Loader(HookSettings({"connect": (main,)}, profiles=choice, cache=tmp_path / "cache"))
    (program,) = loader.load().programs["connect"]
    assert [source.profile.name for source in program.sources] == ["newest", "2016", "newest"]
    # another profile is another program, whatever the cache holds
    other = Loader(HookSettings({"connect": (main,)}, profiles=ProfileChoice(profile_of("2015")), cache=tmp_path / "cache"))
    (program,) = other.load().programs["connect"]
    assert {source.profile.name for source in program.sources} == {"2015"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("newest", "newest"),
        ("2013", "2015"),
        ("2015", "2015"),
        ("3.4-r3", "2015"),
        ("3.5", "2016"),
        ("4.6", "2017"),
        ("4.8", "2018"),
        ("5.1", "2018"),
        ("5.3", "2019"),
        ("5.10", "newest"),
        ("6.2", "newest"),
        ("2024", "newest"),
    ],
)
def test_years_and_releases_name_profiles(text: str, name: str) -> None:
    assert profile_of(text).name == name


@pytest.mark.parametrize("text", ["", "old", "1999", "five", "20155"])
def test_what_names_no_profile(text: str) -> None:
    with pytest.raises(OperatorError, match="there is no profile"):
        profile_of(text)


def test_the_tables_go_together() -> None:
    assert [row.since for row in PROFILES] == sorted(row.since for row in PROFILES)
    assert [row.year for row in PROFILES] == sorted(row.year for row in PROFILES)
    assert NEWEST.is_plain and all(hasattr(NEWEST, switch.name) for switch in SWITCHES)


@pytest.mark.parametrize(
    ("hook", "script", "action"),
    [
        ("data", 'Deliver(["done" => false]); Done();', "accept"),
        ("data", 'Quarantine("q", ["reject" => false]);', "accept"),
        ("data", 'Quarantine("q", ["reject" => true]);', "reject"),
        ("data", 'echo count(GetHeaders(true)) > 0; Reject("no", ["disconnect" => false]);', "reject"),
        ("predelivery", 'Reschedule(300, ["increment_retry" => false]);', "queue"),
        ("rcptto", 'Reject("no", ["disconnect" => true]);', "reject"),
    ],
)
def test_options_whose_booleans_are_numbers(world: World, hook: str, script: str, action: str) -> None:
    given = verdict(world, "2016", hook, script)
    assert (given.action, given.failed) == (action, False), world.failure()  # type: ignore[attr-defined]
