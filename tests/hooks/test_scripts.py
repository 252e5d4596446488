"""Script sets: found, compiled and swapped as one; what changed is noticed, what is wrong is said in full."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hslpy.errors import OperatorError
from hslpy.hooks.scripts import HookSettings, Loader
from tests.hooks.world import World, wait_for


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def loader(folder: Path, *library: Path, **scripts: str) -> Loader:
    files = {hook: (write(folder / f"{hook}.hsl", text),) for hook, text in scripts.items()}
    return Loader(HookSettings(files, library=library))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("limits", "limits.hsl"),
        ("limits.hsl", "limits.hsl"),
        ("./limits.hsl", "limits.hsl"),
        ("sub/limits", "sub/limits.hsl"),
        ("../limits.hsl", "../limits.hsl"),
        ("file:limits", "limits"),
        ("file:1", "1.hsl"),
        ("file://sub/limits.hsl", "sub/limits.hsl"),
        ("extras://limits", "library/extras/limits.hsl"),
        ("file://lib/limits.hsl", "../lib/limits.hsl"),
        ("extras://limits", "extras/limits.hsl"),
        ("extras://limits", "library/limits.hsl"),
        ("extras://sub/limits.hsl", "library/extras/sub/limits.hsl"),
        ("plugin-config://limits.hsl", "plugin-config/limits.hsl"),
        ("plugin-config://limits.hsl", "library/limits.hsl"),
        ("shared", "library/shared.hsl"),
    ],
)
def test_where_modules_are_found(tmp_path: Path, name: str, file: str) -> None:
    folder = tmp_path / "scripts"
    write(folder / file, "function f() { return 1; }")
    found = loader(folder, folder / "library", rcptto=f'import {{ f }} from "{name}"; echo f();').load()
    assert {Path(source.path).resolve() for source in found.sources} == {
        (folder / "rcptto.hsl").resolve(),
        (folder / file).resolve(),
    }


def test_missing_module_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as caught:
        loader(tmp_path, tmp_path / "lib", rcptto='import { f } from "nowhere"; f();').load()
    assert "nowhere" in caught.value.message and "lib" in caught.value.message


def test_modules_that_come_with_the_server_are_found_last(tmp_path: Path) -> None:
    scripts = loader(tmp_path, rcptto='import * as limits from "extras://limits";')
    (_, packaged) = scripts.load().sources
    assert packaged.path.endswith("scripts/lib/limits.hsl")
    own = write(tmp_path / "extras/limits.hsl", "")
    assert scripts.changed()
    assert [Path(source.path) for source in scripts.load().sources[1:]] == [own]


def test_an_own_module_goes_before_a_builtin_of_its_name(tmp_path: Path) -> None:
    script = {"rcptto": (write(tmp_path / "rcptto.hsl", 'import { md5 } from "extras://md5"; echo md5("x");'),)}
    settings = HookSettings(script, cache=tmp_path / "cache")
    scripts = Loader(settings)
    assert len(scripts.load().sources) == 1
    write(tmp_path / "extras/md5.hsl", "function md5($x) { return builtin md5($x); }")
    assert scripts.changed()
    assert len(scripts.load().sources) == 2
    assert len(Loader(settings).load().sources) == 2


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("limist", "did you mean `limits`?"),
        ("extras://limist", "did you mean `limits`?"),
        ("extras://quite-another", "modules of that kind that come with hslpy: "),
        ("extra://limits", "did you mean `extras`?"),
        ("http://example.com/x", "paths are plain, or begin with `file://`"),
        ("sub/other", "looked in "),
    ],
)
def test_a_module_that_is_not_there_is_told_at_its_line(tmp_path: Path, name: str, hint: str) -> None:
    write(tmp_path / "limits.hsl", "")
    with pytest.raises(OperatorError) as caught:
        loader(tmp_path, rcptto=f'\nimport {{ f }} from "{name}";').load()
    assert f'no file "{name}"' in caught.value.message and "rcptto.hsl:2:19" in caught.value.message
    assert hint in caught.value.message


@pytest.mark.parametrize("name", ["txt!../passwd", "txt!{folder}/passwd", "txt!file://passwd", "txt!sub/../../passwd"])
def test_data_is_imported_from_where_scripts_may_read(tmp_path: Path, name: str) -> None:
    name = name.format(folder=tmp_path)
    write(tmp_path / "passwd", "secret")
    write(tmp_path / "scripts/sub/data.txt", "")
    script = write(tmp_path / "scripts/rcptto.hsl", f'import $x from "{name}"; import $y from "sub/data.txt";')
    hooks = {"rcptto": (script,)}
    with pytest.raises(OperatorError) as caught:
        Loader(HookSettings(hooks, folders=(script.parent,))).load()
    assert "no file" in caught.value.message and f"data is imported from {script.parent}" in caught.value.message
    for more in (HookSettings(hooks, folders=(tmp_path,)), HookSettings(hooks, library=(tmp_path,), folders=())):
        assert len(Loader(more).load().sources) == 3


def test_a_changed_data_file_is_noticed_and_read_anew(tmp_path: Path) -> None:
    data = write(tmp_path / "data.json", '{"a": 1}')
    script = {"rcptto": (write(tmp_path / "rcptto.hsl", 'import $x from "data.json"; Reject($x["a"] . "");'),)}
    settings = HookSettings(script, cache=tmp_path / "cache")
    scripts = Loader(settings)

    def reply(loader: Loader) -> str:
        world = World(tmp_path / "unused")
        return str(wait_for(world.hooks({}).run(loader.load(), "rcptto", world.event("rcptto"))))

    assert "'1'" in reply(scripts) and not scripts.changed()
    assert "'1'" in reply(Loader(settings))  # from the cache
    data.write_text('{"a": 22}')
    assert scripts.changed()
    assert "'22'" in reply(scripts) and "'22'" in reply(Loader(settings))
    data.write_text('{"a": }')
    with pytest.raises(OperatorError) as caught:
        scripts.load()
    assert "E403" in caught.value.message and f"{data}:1:7" in caught.value.message


def test_imports_in_a_circle_are_told_with_their_way(tmp_path: Path) -> None:
    write(tmp_path / "a.hsl", 'import { b } from "b"; function a() { }')
    write(tmp_path / "b.hsl", 'import { a } from "./a.hsl"; function b() { }')
    with pytest.raises(OperatorError) as caught:
        loader(tmp_path, rcptto='import { a } from "a";').load()
    way = " -> ".join(str(tmp_path / f"{name}.hsl") for name in "aba")
    assert f"imports in a circle: {way}" in caught.value.message


@pytest.mark.parametrize(
    ("script", "hint"),
    [
        ('import { rates } from "extras://rate"; rates("a");', "it has `rate`"),
        ('import { thre } from "lib"; thre();', "did you mean `three`?"),
        ('import { nine } from "lib"; nine();', "it has `one`, `three`"),
        ('import { b } from "b"; b();', "put what both need into a third file"),
        ("echo AF_INET;", 'a text stands in quotes: `"AF_INET"`'),
        ('import $x from "x.json" with ["header" => true];', "it takes no options"),
    ],
)
def test_mistakes_have_a_cure_and_are_told_once(tmp_path: Path, script: str, hint: str) -> None:
    write(tmp_path / "lib.hsl", "function one() { } function three() { }")
    write(tmp_path / "b.hsl", 'import { c } from "c"; function b() { return c(); }')
    write(tmp_path / "c.hsl", 'import { b } from "b"; function c() { return b(); }')
    write(tmp_path / "x.json", "[]")
    with pytest.raises(OperatorError) as caught:
        loader(tmp_path, rcptto=script).load()
    assert f"= hint: {hint}\n" in f"{caught.value.message}\n"
    assert caught.value.message.count("error[") == 1


def test_errors_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as caught:
        loader(tmp_path, rcptto="Rejct();", mailfrom="echo 1 +;", data="Deliver(").load()
    assert caught.value.exit_code == 1
    for text in ("rcptto.hsl:1:1", "`Reject`?", "mailfrom.hsl:1", "data.hsl:1"):
        assert text in caught.value.message


def test_error_in_a_shared_module_is_told_once(tmp_path: Path) -> None:
    write(tmp_path / "m.hsl", "function f() { nosuch(); }")
    script = 'import { f } from "m"; f();'
    with pytest.raises(OperatorError) as caught:
        loader(tmp_path, rcptto=script, mailfrom=script).load()
    assert caught.value.message.count("m.hsl:1") == 1


def test_missing_script(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"cannot read the script .*\n.*`hooks.rcptto` names it"):
        Loader(HookSettings({"rcptto": (tmp_path / "none.hsl",)})).load()


def test_unknown_hook(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as caught:
        loader(tmp_path, rcptot="").load()
    assert caught.value.hint == "did you mean `rcptto`?"


def test_two_ways_at_the_end_of_data(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="both"):
        loader(tmp_path, data="", eod="").load()


def touch_later(path: Path) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))


def test_changes_are_noticed(tmp_path: Path) -> None:
    module = write(tmp_path / "m.hsl", "function f() { return 1; }")
    one = loader(tmp_path, rcptto='import { f } from "m"; f();')
    assert one.changed()
    one.load()
    assert not one.changed()
    touch_later(module)
    assert not one.changed()
    write(module, "function f() { return 2; }")
    touch_later(module)
    assert one.changed()
    one.load()
    assert not one.changed()
    module.unlink()
    assert one.changed()
    with pytest.raises(OperatorError):
        one.load()
    assert not one.changed()
    write(module, "function f() { return 3; }")
    assert one.changed()
    one.load()
    one.settings = HookSettings({**one.settings.scripts, "mailfrom": one.settings.scripts["rcptto"]})
    assert one.changed()


def test_broken_set_leaves_the_old_one_and_sessions_keep_theirs(world: World) -> None:
    hooks = world.hooks({"rcptto": 'Reject("old");', "mailfrom": ""})
    old = hooks.current
    event = world.event("rcptto")
    script = world.folder / "rcptto.hsl"

    async def main() -> None:
        script.write_text('Reject("broken"')
        with pytest.raises(OperatorError):
            await hooks.reload()
        assert hooks.current is old
        assert not hooks.changed()
        script.write_text('Reject("new, longer");')
        assert hooks.changed()
        await hooks.reload()
        assert (await hooks.run(hooks.current, "rcptto", event)).reply.lines == ("new, longer",)
        assert (await hooks.run(old, "rcptto", event)).reply.lines == ("old",)

    wait_for(main())


def test_has() -> None:
    from hslpy.hooks.scripts import ScriptSet

    assert not ScriptSet().has("rcptto")


def test_globals_are_of_one_run(world: World) -> None:
    hooks = world.hooks({"rcptto": "$n = ($n ?? 0) + 1; echo $n;"})

    async def main() -> None:
        for _ in range(2):
            await hooks.run(hooks.current, "rcptto", world.event("rcptto"))

    wait_for(main())
    assert world.echoed() == ["1", "1"]
