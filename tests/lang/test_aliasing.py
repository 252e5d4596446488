"""Arrays are values: random programs that copy, pass, alter and return them, against a model that copies everything."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hslpy.builtins import for_hook
from hslpy.lang.load import load_program
from hslpy.lang.run import Run, execute
from hslpy.lang.source import Source

TABLE = for_hook(None)
NAMES = ("a", "b", "c")
HELPERS = """
function same($x) { return $x; }
function altered($x) { $x["k"] = 7; return $x; }
function deeper($x) { $x["k"]["j"] = 8; return $x; }
function holding($x) { return ["in" => $x]; }
function reads($x) { return count($x); }
function looped($x) { foreach ($x as $key => $v) { $x["seen"] = 1; } return $x; }
function global_write($x) { global $g; $g["k"] = 5; $x["n"] = 1; return $x; }
class Box {
    $v = [];
    function put($x) { $this->v = $x; return $this; }
    function grow() { $this->v["b"] = 6; return $this->v; }
}
"""

Model = dict[str, Any]


def items(value: Any) -> Any:
    return value if isinstance(value, dict) else {}


def deep_set(target: dict[str, Any], *path_and_value: Any) -> None:
    *path, last, value = path_and_value
    for key in path:
        if not isinstance(target.get(key), dict):
            target[key] = {}
        target = target[key]
    target[last] = value


def step(kind: str, x: str, y: str, model: Model) -> str:
    """Do one step in the model and give it in HSL. All variables hold arrays at the top."""
    other = copy.deepcopy(model[y])
    match kind:
        case "copy":
            model[x] = other
            return f"${x} = ${y};"
        case "store":
            model[x]["s"] = other
            return f'${x}["s"] = ${y};'
        case "write":
            model[x]["w"] = 1
            return f'${x}["w"] = 1;'
        case "deep":
            if not isinstance(model[x].get("s"), dict):
                model[x]["s"] = {}
            deep_set(model[x], "s", "d", 2)
            return f'if (!is_array(${x}["s"] ?? none)) ${x}["s"] = []; ${x}["s"]["d"] = 2;'
        case "take":
            model[x] = copy.deepcopy(items(model[y].get("s")))
            return f'${x} = is_array(${y}["s"] ?? none) ? ${y}["s"] : [];'
        case "remove":
            model[x].pop("s", None)
            return f'unset(${x}["s"]);'
        case "same":
            model[x] = other
            return f"${x} = same(${y});"
        case "altered":
            model[x] = {**other, "k": 7}
            return f"${x} = altered(${y});"
        case "deeper":
            if not isinstance(other.get("k"), dict):
                other["k"] = {}
            other["k"]["j"] = 8
            model[x] = other
            made = f'$t = ${y}; $t["k"] = []; ${x} = deeper($t);'
            return f'if (!is_array(${y}["k"] ?? none)) {{ {made} }} else ${x} = deeper(${y});'
        case "holding":
            model[x] = {"in": other}
            return f"${x} = holding(${y});"
        case "reads":
            return f"reads(${y});"
        case "looped":
            model[x] = {**other, "seen": 1} if other else other
            return f"${x} = looped(${y});"
        case "foreach":
            if isinstance(model[x].get("s"), dict):
                model[x]["s"]["f"] = 3
            body = f'$v["lost"] = 1; ${x}["s"]["f"] = 3;'
            return f'foreach (${x} as $key => $v) {{ if ($key == "s" and is_array($v)) {{ {body} }} }}'
        case "box":
            model[x] = {**other, "b": 6}
            return f"$box = Box()->put(${y}); ${x} = $box->grow();"
        case "merge":
            model[x] = {**model[x], **other}
            return f"${x} += ${y};"
        case "nest":
            model[x] = {"l": other, "r": copy.deepcopy(model[y])}
            return f'${x} = ["l" => ${y}, "r" => ${y}];'
        case "swap":
            model[x], model[y] = copy.deepcopy(model[y]), copy.deepcopy(model[x])
            return f"[${x}, ${y}] = [${y}, ${x}];"
        case "spread":
            model[x] = {**other, "e": 4}
            return f'${x} = [...${y}, "e" => 4];'
    raise AssertionError(kind)


KINDS = [
    "copy",
    "store",
    "write",
    "deep",
    "take",
    "remove",
    "same",
    "altered",
    "deeper",
    "holding",
    "reads",
    "looped",
    "foreach",
    "box",
    "merge",
    "nest",
    "swap",
    "spread",
]
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(NAMES), st.sampled_from(NAMES)), min_size=3, max_size=14)

FRAMES = {
    "module": "{start} {body} {show}",
    "function": "function run() {{ {start} {body} {show} }} run();",
    "captured": "function run() {{ {start} $f = function () closure ($a, $b, $c) {{ {body} }}; $f(); {show} }} run();",
    "globals": "{start} function run() {{ global $a, $b, $c; {body} }} run(); {show}",
}


def shown(value: Any) -> str:
    if isinstance(value, dict):
        return "[" + ",".join(f'"{key}"=>{shown(inner)}' for key, inner in value.items()) + "]"
    return str(value)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, st.sampled_from(sorted(FRAMES)))
def test_arrays_are_values(steps: list[tuple[str, str, str]], frame: str) -> None:
    model: Model = {"a": {"x": 1}, "b": {"s": {"y": 2}}, "c": {}}
    start = '$a = ["x" => 1]; $b = ["s" => ["y" => 2]]; $c = [];'
    body = "\n".join(step(kind, x, y, model) for kind, x, y in steps)
    text = HELPERS + FRAMES[frame].format(start=start, body=body, show="echo $a; echo $b; echo $c;")
    loaded = load_program("main.hsl", lambda path, importer: Source(path, text), TABLE, {})
    assert loaded.program is not None, [d.message for d in loaded.diagnostics]
    said: list[str] = []
    execute(loaded.program, Run(echo=said.append))
    assert said == [shown(model[name]) for name in NAMES], body
