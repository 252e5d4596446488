"""Functions on services: rates, shared memory, the queue's metric, the log."""

from __future__ import annotations

import asyncio

import pytest

from hslpy.store.memory import SharedMemory
from tests.hooks.world import World, wait_for


def test_rate_counts_and_refuses(world: World) -> None:
    world.run(
        "rcptto",
        'for ($i = 0; $i < 3; $i++) echo rate("n", "e", 2, 60); echo rate("n", "e", 0, 60); echo rate("n", "f", 0, 60);',
    )
    assert world.echoed() == ["true", "true", "false", "2", "0"]


def test_rate_takes_its_options(world: World) -> None:
    world.run("rcptto", 'echo rate("n", "e", 1, 60, ["sync" => false]); echo rate("n", "e", 1, 60, ["local" => true]);')
    assert world.echoed() == ["true", "false"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('rate("n", "e", 1, 0);', "rate() wants `interval` above 0 seconds, got 0"),
        ('rate("n", "e", -1, 60);', "rate() wants `count` of at least 0, got -1"),
        ('rate("n", "e", 1, 60, ["snyc" => true]);', "did you mean `sync`?"),
        ('rate("n", 5, 1, 60);', "rate() wants string as `entry`"),
        ('GetMailQueueMetric(["metrics" => "count"]);', "did you mean `metric`?"),
        ('GetMailQueueMetric(["metric" => "size"]);', "knows no metric"),
        ('GetMailQueueMetric(["filter" => ["senderdomian" => "x"]]);', "did you mean `senderdomain`?"),
        ('GetMailQueueMetric(["filter" => ["sender" => true]]);', "wants a string or a list"),
        ('syslog("loud", "x");', "knows no priority"),
        ('memory_store("k", function () { return 1; });', "cannot store a value of type function"),
    ],
)
def test_mistakes(world: World, script: str, message: str) -> None:
    assert world.run("rcptto", script).failed
    assert message in world.failure()


def test_queue_metric_filters(world: World) -> None:
    world.metrics[("count", ())] = 7.0
    world.metrics[
        ("bytes", (("senderdomain", ("a.org", "b.org")), ("transportid", ("t",)), ("retry", ("1",)), ("metadata.x", ("Y",))))
    ] = 9.0
    world.run(
        "rcptto",
        """
        echo GetMailQueueMetric();
        echo GetMailQueueMetric(["metric" => "bytes", "filter" =>
            ["senderdomain" => ["a.org", "b.org"], "transportid" => "t", "retry" => 1, "metadata.x" => "Y"]]);
        echo GetMailQueueMetric(["filter" => ["senderip" => []]]);
        """,
    )
    assert world.echoed() == ["7", "9", "0"]


def test_memory(world: World) -> None:
    world.run(
        "rcptto",
        """
        echo [memory_add("a", 1), memory_add("a", 2), memory_fetch("a"), memory_exists("a"), memory_exists("b")];
        echo memory_store("a", [1, [2]], function ($k, $v) { echo "$k was $v"; });
        $x = memory_fetch("a"); $x[] = 3; $x[1][] = 4; echo memory_fetch("a");
        echo [memory_inc("n"), memory_inc("n", 4), memory_dec("n", 2), memory_dec("n", 3, true), memory_exists("n")];
        echo memory_inc("a") == none ? 1 : 0;
        echo memory_update("list", "item", function ($k, $c, $v) { $c[] = $v; return $c; }, []);
        echo memory_update("list", "item", function ($k, $c, $v) { $c[] = $v; return $c; });
        echo memory_update("none", "item", function ($k, $c, $v) { return 1; });
        echo [memory_fetch("list"), memory_exists("none")];
        echo memory_delete("list", function ($k, $v) { echo "gone: $k"; });
        echo memory_delete("list");
        echo memory_fetch("x", function ($k) { $v = 123; memory_store("x", $v); return $v; });
        echo memory_fetch("x");
        """,
    )
    assert world.echoed() == [
        "[0=>true,1=>false,2=>1,3=>true,4=>false]",
        "a was 1",
        "true",
        "[0=>1,1=>[0=>2]]",
        "[0=>1,1=>5,2=>3,3=>0,4=>false]",
        "1",
        "false",
        "true",
        "false",
        '[0=>[0=>"item",1=>"item"],1=>false]',
        "gone: list",
        "true",
        "false",
        "123",
        "123",
    ]


def test_memory_has_maps_and_sets_of_its_own(world: World) -> None:
    world.run(
        "rcptto",
        """
        $s = Set("string"); $s->add("com"); memory_store("set", $s); $s->add("net");
        $t = memory_fetch("set"); $t->add("org"); echo [$s->size(), $t->size(), memory_fetch("set")->size()];
        $m = Map("string", "array"); $m->set("a", [1]); memory_store("map", $m);
        $n = memory_fetch("map"); $n->set("b", []); $x = $n->get("a"); $x[] = 2;
        foreach (memory_fetch("map")->entries() as $k => $v) echo [$k, $v];
        function rules() { $r = Set("number"); $r->add(5); return $r; }
        $c = cache [] rules(); $c->add(6); echo (cache [] rules())->size();
        """,
    )
    assert world.echoed() == ["[0=>2,1=>2,2=>1]", '[0=>"a",1=>[0=>1]]', "1"]


@pytest.mark.parametrize("value", ['[Set("string")]', "$map", "$set"])
def test_what_memory_cannot_hold(world: World, value: str) -> None:
    script = """
        $set = Map("string", "any"); $set->set("f", function () { return 1; });
        $map = Map("string", "any"); $map->set("s", Set("string")); memory_store("k", %s);
    """
    assert world.run("rcptto", script % value).failed
    assert "cannot store a value of type" in world.failure()


def test_memory_is_shared_and_updated_in_turn(world: World) -> None:
    script = 'memory_update("n", 1, function ($k, $c, $v) { rate("x", "y", 0, 60); ScanRPD(); return $c + $v; }, 0);'
    hooks = world.hooks({"data": script})

    async def main() -> None:
        await asyncio.gather(*(hooks.run(hooks.current, "data", world.data()) for _ in range(50)))

    wait_for(main())
    assert hooks.services.memory.values == {"n": 50.0}
    assert not world.events


def test_memory_that_scripts_fill_has_an_end(world: World) -> None:
    script = """
    memory_store("old", 1);
    foreach (range(1, 100) as $i) { memory_store("k" . $i, "x" * 1000000); memory_inc("kept"); }
    echo [memory_fetch("old"), memory_fetch("k1"), length(memory_fetch("k100")), memory_fetch("kept")];
    """
    memory = SharedMemory(most_bytes=10_000_000)
    world.run("rcptto", script, memory=memory)
    assert world.echoed() == ["[0=>none,1=>none,2=>1000000,3=>100]"]
    assert len(memory.values) == 10 and memory.values.bytes <= 10_000_000
    world.run("rcptto", 'memory_delete("kept"); foreach (range(1, 100) as $i) memory_delete("k" . $i);', memory=memory)
    assert memory.values == {} and memory.values.bytes == 0


def test_syslog(world: World) -> None:
    world.run("rcptto", 'syslog("warning", "careful"); syslog(6, "fine"); syslog(22, "facility 2");')
    assert [(fields["priority"], fields["level"], fields["text"]) for fields in world.logged("hooks.script_log")] == [
        ("warning", "warning", "careful"),
        ("info", "info", "fine"),
        ("info", "info", "facility 2"),
    ]
    assert world.logged("hooks.script_log")[0]["transaction"] == "message-1"


def test_stat_and_serial(world: World) -> None:
    world.run("rcptto", 'stat("verdicts", ["accepted" => 2, 7 => true]); echo serial() == gethostname();')
    assert world.echoed() == ["true"]
    (fields,) = world.logged("hooks.script_stat")
    assert (fields["series"], fields["figures"]) == ("verdicts", {"accepted": 2.0, "7": 1.0})
    assert fields["transaction"] == "message-1"
    assert world.run("rcptto", 'stat("verdicts", ["accepted" => "2"]);').failed
