"""Files that scripts read: which they may, reading by pieces and lines, and the functions of older scripts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hslpy.client.files import Files
from hslpy.lang.run import Limits
from tests.hooks.world import World


def echoed(world: World, script: str, **more: object) -> list[str]:
    verdict = world.run("rcptto", script, **more)  # type: ignore[arg-type]
    assert not verdict.failed, world.failure()
    return world.echoed()


def test_reading_by_pieces_and_lines(world: World) -> None:
    (world.folder / "list.txt").write_bytes(b"one\r\ntwo\n\nfo\rur\nlast")
    assert echoed(
        world,
        """
        $f = File("list.txt");
        echo $f->tell() . $f->read(2) . $f->tell();
        while (is_string($line = $f->readline())) echo "[$line]";
        echo [$f->readline(), $f->read(), $f->read(5)];
        echo [$f->seek(5), $f->read(3), $f->seek(-4, "SEEK_END"), $f->seek(1, "SEEK_CUR"), $f->read()];
        echo [$f->seek(-1), $f->seek(-99, "SEEK_CUR"), $f->seek(500), $f->read()] === [none, none, 500, ""];
        """,
    ) == [
        "0on2",
        "[e]",
        "[two]",
        "[]",
        "[fo\rur]",
        "[last]",
        '[0=>false,1=>"",2=>""]',
        '[0=>5,1=>"two",2=>16,3=>17,4=>"ast"]',
        "true",
    ]


def test_a_closed_file_gives_none(world: World) -> None:
    script = """
        $f = File::String("Hello\\nWorld"); echo $f->getPath() ?? "none"; echo $f->close() === none;
        echo [$f->read(), $f->read(1), $f->readline(), $f->tell(), $f->seek(0)] === [none, none, none, none, none];
        $f->close(); echo File(File::String("x"))->read();
    """
    assert echoed(world, script) == ["none", "true", "true", "x"]


def test_names(world: World) -> None:
    library = world.folder / "library"
    library.mkdir()
    (world.folder / "1").write_text("beside")
    (library / "2").write_text("library")
    script = f"""
        foreach (["1", "file:1", "file://1", "file://{world.folder}/1", "./1", "2", "file:2"] as $name)
            echo File::read($name);
        echo File("file:2")->getPath();
        foreach (["3", "1/2", "library", "", "file://", "1\\x00"] as $name) echo File($name) === none;
    """
    wanted = ["beside"] * 5 + ["library"] * 2 + [str(library / "2")] + ["true"] * 6
    assert echoed(world, script, files=Files(library=(library,))) == wanted


def test_the_settings_say_what_may_be_read(world: World) -> None:
    allowed = world.folder / "data"
    allowed.mkdir()
    (allowed / "in.txt").write_text("in")
    (world.folder / "out.txt").write_text("out")
    script = f"""
        foreach (["in.txt", "{allowed}/in.txt", "../out.txt", "{world.folder}/out.txt", "/etc/passwd"] as $name)
            echo File::read($name) ?? "none";
    """
    assert echoed(world, script, files=Files(folders=(allowed,))) == ["in", "in", "none", "none", "none"]
    texts = [str(fields["text"]) for fields in world.logged("hooks.script_warning")]
    assert texts == [
        f'File::read() cannot read "{name}": scripts may read files in {allowed}'
        for name in ("../out.txt", f"{world.folder}/out.txt", "/etc/passwd")
    ]


def test_a_pipe_is_no_file(world: World) -> None:
    os.mkfifo(world.folder / "pipe")
    assert echoed(world, 'echo File("pipe") === none;') == ["true"]


def test_a_long_line_and_a_large_file(world: World) -> None:
    (world.folder / "long").write_bytes(b"x" * 300_000 + b"\nend\n")
    (world.folder / "large").write_bytes(b"y" * 3_000_000)
    script = """
        $f = File("long"); echo length($f->readline()); echo $f->readline(); echo $f->readline();
        echo length(File::read("large")); echo length(File("large")->read(9999999));
    """
    assert echoed(world, script) == ["300000", "end", "false", "3000000", "3000000"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('File::read("large");', "longer than"),
        ('File("large")->read();', "longer than"),
        ('File("large")->readline();', "longer than"),
        ('file_get_contents("large");', "longer than"),
        ('$all = []; for ($i = 0; $i < 100; $i++) $all[] = File::String(str_repeat("x", 500000));', "memory"),
        ('File("x")->read(-1);', "wants `length`"),
        ('File::String("x")->read(-1);', "read() wants `length` as a whole number from 0"),
        ('File::String("x")->seek(0, "SEEK_FRONT");', "knows no `whence`"),
        ("File(5);", "File() wants string or FileResource or File as `fileresource`"),
        ('in_file("x", "1", ["typo" => 1]);', "did you mean `type`?"),
        ('in_file("x", "1", ["type" => "csv"]);', "text/csv"),
        ('in_file("x", "1", ["index" => 0.5]);', "wants `index`"),
    ],
)
def test_mistakes_and_limits(world: World, script: str, message: str) -> None:
    (world.folder / "large").write_bytes(b"y" * 2_000_000)
    limits = Limits(string_bytes=1 << 20, memory_bytes=16 << 20)
    assert world.run("rcptto", script, limits=limits).failed
    if message != "wants `length`":
        assert message in world.failure()


def test_files_are_closed_when_the_run_ends(world: World) -> None:
    (world.folder / "1").write_text("x")
    before = len(os.listdir("/proc/self/fd"))
    script = """
        class A { constructor() { $this->me = $this; $this->files = []; } function add() { $this->files[] = File("1"); } }
        $a = A(); for ($i = 0; $i < 50; $i++) $a->add();
    """
    echoed(world, script)
    assert len(os.listdir("/proc/self/fd")) == before


def test_functions_of_older_scripts(world: World) -> None:
    (world.folder / "1").write_bytes(b'ip,comment\r\n192.0.2.1,"web, server"\r\n192.0.2.2,mail\r\n')
    (world.folder / "2").write_bytes(b"example.com  relay\tyes\nexample.org\n")
    (world.folder / "3").write_bytes(b"a:x\nb:y:z\n")
    script = """
        echo file("file:2"); echo file_get_contents("file:3");
        echo file("nothing") ?? "none"; echo file_get_contents("nothing") ?? "none"; echo in_file("a", "nothing");
        echo in_file("example.com", "2"); echo in_file("yes", "2", ["index" => 2]); echo in_file("relay", "2");
        echo in_file("b", "3", ["delimiter" => ":"]);
        echo in_file("192.0.2.1", "1", ["type" => "text/csv"]);
        echo in_file("192.0.2.2", "1", ["type" => "text/csv", "assoc" => false]);
        echo in_file("mail", "1", ["type" => "text/csv", "index" => 1]);
        echo in_file("ip", "1", ["type" => "text/csv"]);
        $ip = "192.0.2.2";
        echo in_file(function ($row) closure ($ip) { return $row["ip"] == $ip; }, "1", ["type" => "text/csv"])["comment"];
        echo in_file(is_array, "2")[0];
    """
    assert echoed(world, script) == [
        '[0=>"example.com  relay\tyes",1=>"example.org"]',
        "a:x\nb:y:z\n",
        "none",
        "none",
        "[]",
        '[0=>"example.com",1=>"relay",2=>"yes"]',
        '[0=>"example.com",1=>"relay",2=>"yes"]',
        "[]",
        '[0=>"b",1=>"y",2=>"z"]',
        '["ip"=>"192.0.2.1","comment"=>"web, server"]',
        '[0=>"192.0.2.2",1=>"mail"]',
        '["ip"=>"192.0.2.2","comment"=>"mail"]',
        "[]",
        "mail",
        "example.com",
    ]


def test_a_module_reads_beside_itself(world: World) -> None:
    module = world.folder / "modules"
    module.mkdir()
    (module / "words.txt").write_text("hello")
    (module / "words.hsl").write_text('function words() { return File::read("words.txt"); }')
    assert echoed(world, 'import { words } from "modules/words"; echo words();') == ["hello"]
    assert isinstance(world.folder, Path)
