"""A small program for each diagnostic that gives it, and the same program cured. In: nothing. Out: `EXAMPLES`, by code.

The reference page, `hslpy check --explain` and a test walk them; `tooling/explain.py` runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """`wrong` gives the diagnostic and nothing else, `right` gives none.

    `hook` is where both run, `test` as tests of scripts, None outside of hooks; `facts` are those of the hook. `files` are
    the modules beside them, `limits` the settings under which they run.
    """

    wrong: str
    right: str
    hook: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)


_NUMBERS = {"numbers.hsl": "function double($x) { return $x * 2; }\n$base = 10;\n"}

EXAMPLES: dict[str, Example] = {
    # E1xx syntax
    "E101": Example('echo "one"\necho "two";', 'echo "one";\necho "two";'),
    "E102": Example('echo length("abc";', 'echo length("abc");'),
    "E103": Example("foreach ([1, 2] as value) echo value;", "foreach ([1, 2] as $value) echo $value;"),
    "E104": Example("echo 1;\n}", "echo 1;"),
    "E105": Example('echo "hello;', 'echo "hello";'),
    "E106": Example("echo 'hello';", "echo \"hello\" . ''raw text'';"),
    "E107": Example("/* nothing ends this\necho 1;", "/* this ends */\necho 1;"),
    "E108": Example('if ("abc" =~ #/b/q) echo "found";', 'if ("abc" =~ #/b/i) echo "found";'),
    "E109": Example("echo 1 @ 2;", "echo 1 + 2;"),
    "E110": Example("function new($x) { return $x; }", "function make($x) { return $x; }"),
    "E111": Example("function class($x) { return $x; }", "function kind($x) { return $x; }"),
    "E112": Example('$a = 1;\nif ($a && $a > 0) echo "yes";', '$a = 1;\nif ($a and $a > 0) echo "yes";'),
    "E113": Example("# a comment\necho 1;", "// a comment\necho 1;"),
    "E114": Example("$list = [1];\necho $list[];", "$list = [1];\n$list[] = 2;\necho $list;"),
    "E115": Example('length("a") = 2;', '$size = length("a");'),
    "E116": Example("[...$all, $last] = [1, 2, 3];", "[$first, ...$others] = [1, 2, 3];"),
    "E117": Example('echo isset(length("a"));', '$x = length("a");\necho isset($x);'),
    "E118": Example("$x = 1;\necho cache [] $x;", 'echo cache [] md5("x");'),
    "E119": Example("function f(...$all, $last) { return $last; }", "function f($first, ...$all) { return $first; }"),
    "E120": Example("echo 1e5;", "echo 100000;"),
    "E121": Example('$name = "a";\ninclude "$name.hsl";', 'include "a.hsl";', files={"a.hsl": "echo 1;\n"}),
    "E122": Example(
        "switch (1) {\n  default: echo 1; break;\n  default: echo 2;\n}",
        "switch (1) {\n  case 1: echo 1; break;\n  default: echo 2;\n}",
    ),
    "E123": Example(
        'echo match (1, 2) { 1 => "one", default => "other" };', 'echo match (1) { 1 => "one", default => "other" };'
    ),
    "E124": Example(f"$x = {'[' * 300}{']' * 300};", "$inner = [[1]];\n$x = [[$inner]];"),
    # E2xx names and calls
    "E201": Example(
        "function f() { return 1; }\nfunction f() { return 2; }", "function f() { return 1; }\nfunction g() { return 2; }"
    ),
    "E202": Example("function f($a, $a) { return $a; }", "function f($a, $b) { return $a + $b; }"),
    "E203": Example("function f($a) { return $a; }\necho f(1, 2);", "function f($a) { return $a; }\necho f(1);"),
    "E204": Example('echo lenght("abc");', 'echo length("abc");'),
    "E205": Example('$connection = "mine";', '$mine = "mine";', hook="rcptto"),
    "E206": Example('echo length("abc")++;', 'echo length("abc") + 1;'),
    "E207": Example("Try();", "Accept();", hook="rcptto"),
    "E208": Example(
        "class Box { static function make() { return 1; } }\necho Bax::make();",
        "class Box { static function make() { return 1; } }\necho Box::make();",
    ),
    "E209": Example(
        "$n = 1;\nfunction f() {\n  $n = 2;\n  global $n;\n}\nf();",
        "$n = 1;\nfunction f() {\n  global $n;\n  $n = 2;\n}\nf();",
    ),
    "E210": Example("function f($a = time()) { return $a; }", "function f($a = none) { return $a ?? time(); }"),
    "E212": Example(
        'import { triple } from "numbers.hsl";', 'import { double } from "numbers.hsl";\necho double(2);', files=_NUMBERS
    ),
    "E213": Example(
        'import { f } from "one.hsl";',
        'import { double } from "numbers.hsl";',
        files={
            **_NUMBERS,
            "one.hsl": 'import { g } from "two.hsl";\nfunction f() { return g(); }\n',
            "two.hsl": 'import { f } from "one.hsl";\nfunction g() { return 1; }\n',
        },
    ),
    "E214": Example('import { double } from "number.hsl";', 'import { double } from "numbers.hsl";', files=_NUMBERS),
    "E215": Example(
        'import { double } from "numbers.hsl";\nimport { double } from "texts.hsl";',
        'import { double } from "numbers.hsl";\nimport { double as twice } from "texts.hsl";\necho double(1) . twice("a");',
        files={**_NUMBERS, "texts.hsl": 'function double($x) { return "$x$x"; }\n'},
    ),
    "E216": Example(
        'function f() {\n  import { double } from "numbers.hsl";\n  return 1;\n}',
        'import { double } from "numbers.hsl";\nfunction f() {\n  return double(1);\n}',
        files=_NUMBERS,
    ),
    "E217": Example("yield 1;", "function one() { yield 1; }\nforeach (one() as $x) echo $x;"),
    "E219": Example('if ("a(b" =~ "(b") echo "found";', 'if ("a(b" =~ "\\\\(b") echo "found";'),
    # E3xx classes and modules
    "E301": Example("class Box { $size; $size; }", "class Box { $size; $weight; }"),
    "E302": Example(
        "class Box { private static $count = 0; }\necho Box::$count;",
        "class Box {\n  private static $count = 0;\n  static function all() { return static::$count; }\n}\necho Box::all();",
    ),
    "E303": Example(
        "class Box { static $count = 0; }\necho Box::$cuont;", "class Box { static $count = 0; }\necho Box::$count;"
    ),
    "E304": Example(
        "class Box { static $count = 0; }\necho static::$count;", "class Box { static $count = 0; }\necho Box::$count;"
    ),
    "E305": Example(
        "function size() { return $this->width; }",
        "class Box {\n  $width = 1;\n  function size() { return $this->width; }\n}",
    ),
    # E4xx not supported here
    "E403": Example(
        'import $limits from "limits.json";\necho $limits;',
        'import $limits from "fine.json";\necho $limits;',
        files={"limits.json": '{ "count": 100, }\n{', "fine.json": '{ "count": 100 }\n'},
    ),
    "E404": Example('echo cache ["tll" => 60] md5("x");', 'echo cache ["ttl" => 60] md5("x");'),
    "E405": Example(
        'function f() {\n  barrier "x" { yield 1; }\n}\nf();',
        'function f() {\n  barrier "x" { $y = 1; }\n  yield $y;\n}\nf();',
    ),
    "E407": Example("while (false) " * 20 + "echo 1;", "function inner() { while (false) echo 1; }\nwhile (false) inner();"),
    "E408": Example('echo FFI("libc.so.6");', "echo time() > 0;"),
    # W5xx warnings
    "W501": Example('$recipient = "a";\nif (false) echo $recipent;', '$recipient = "a";\nif (false) echo $recipient;'),
    "W502": Example('if (1) {\n  echo "last";\n  break;\n}', 'if (1) {\n  echo "last";\n  return;\n}'),
    "W503": Example(
        'switch (1) {\n  echo "never";\n  case 1: echo "one";\n}', 'echo "always";\nswitch (1) {\n  case 1: echo "one";\n}'
    ),
    "W504": Example('echo "a\\db";', 'echo "a\\\\db";'),
    "W505": Example('echo 2 + "2";', 'echo 2 + number("2");'),
    "W506": Example("$retries = 3;\necho $retries;", "$most = 3;\necho $most;", hook="predelivery"),
    "W507": Example('$x = 1;\nif ($x = 2) echo "two";', '$x = 1;\nif ($x == 2) echo "two";'),
    "W508": Example('import { md5 } from "extras://md6";\necho md5("a");', 'echo md5("a");'),
    # R1xx run time: operators and builtins
    "R101": Example("echo str_upper(5);", "echo str_upper(string(5));"),
    "R102": Example("$f = function ($a) { return $a; };\necho $f(1, 2);", "$f = function ($a) { return $a; };\necho $f(1);"),
    "R103": Example('$f = "length";\necho $f("abc");', '$f = length;\necho $f("abc");'),
    "R105": Example(
        "$size = 1;\nfor ($n = 0; $n < 1100; $n++) $size = $size * 2;\n$sums = [];\n$sums[$size] = 1;",
        "$size = 1;\nfor ($n = 0; $n < 11; $n++) $size = $size * 2;\n$sums = [];\n$sums[$size] = 1;",
    ),
    "R106": Example("if (false) $x = 1;\necho $x;", "if (false) $x = 1;\necho $x ?? 0;"),
    "R107": Example(
        'throw Exception("no such customer");',
        'try {\n  throw Exception("no such customer");\n} catch ($error) {\n  echo $error->message();\n}',
    ),
    "R108": Example('rate("out", "a@example.org", 100, 0);', 'rate("out", "a@example.org", 100, 3600);'),
    "R110": Example(
        "class Box { private $width = 1; }\n$box = Box();\necho $box->width;",
        "class Box {\n  private $width = 1;\n  function size() { return $this->width; }\n}\necho Box()->size();",
    ),
    "R111": Example('foreach ("a,b" as $x) echo $x;', 'foreach (str_split("a,b", ",") as $x) echo $x;'),
    "R112": Example('$x = "text";\n$x["a"] = 1;', '$x = [];\n$x["a"] = 1;'),
    "R113": Example(
        "class Box { function open() { return 1; } }\n$box = Box();\necho $box->close();",
        "class Box { function open() { return 1; } }\n$box = Box();\necho $box->open();",
    ),
    "R114": Example('echo match (3) { 1 => "one", 2 => "two" };', 'echo match (3) { 1 => "one", default => "other" };'),
    "R115": Example(
        "function f() {\n  global $g;\n  yield $g->next();\n}\n$g = f();\necho $g->next();",
        "function f() { yield 1; }\n$g = f();\necho $g->next();",
    ),
    "R116": Example('barrier "x" {\n  barrier "x" { echo 1; }\n}', 'barrier "x" {\n  barrier "y" { echo 1; }\n}'),
    "R121": Example('$map = [];\necho "<" . $map["no"] . ">";', '$map = [];\necho "<" . ($map["no"] ?? "") . ">";'),
    "R122": Example("echo [1] * [2];", "echo 1 * 2;"),
    "R123": Example("$n = 0;\necho 1 / $n;", "$n = 0;\necho $n ? 1 / $n : 0;"),
    "R124": Example("echo [1] < 2;", "echo length([1]) < 2;"),
    "R125": Example('echo ["a" => 1][[]];', 'echo ["a" => 1]["a"];'),
    "R126": Example('echo "abc"[::0];', 'echo "abc"[::2];'),
    "R127": Example('echo "%s and %s" % ["one"];', 'echo "%s and %s" % ["one", "two"];'),
    "R129": Example('$pattern = "(b";\necho "a(b" =~ $pattern;', '$pattern = "\\\\(b";\necho "a(b" =~ $pattern;'),
    # R2xx run time: limits
    "R201": Example("forever { }", "for ($i = 0; $i < 10; $i++) { }", limits={"steps": 1000}),
    "R202": Example(
        "function f($n) { return f($n + 1); }\nf(0);",
        "function f($n) { return $n < 5 ? f($n + 1) : $n; }\necho f(0);",
        limits={"depth": 20},
    ),
    "R203": Example("forever { }", "for ($i = 0; $i < 10; $i++) { }", limits={"cpu_s": 0.3, "steps": 10**12}),
    "R204": Example("sleep(5);", "sleep(0.01);", limits={"wall_s": 0.5}),
    "R205": Example('$all = str_repeat("x", 2000000);', '$all = str_repeat("x", 1000);', limits={"memory_bytes": 1 << 20}),
    "R206": Example(
        'echo str_repeat("a", 40) . "b" =~ "^(a|aa)+$";',
        'echo str_repeat("a", 40) . "b" =~ "^a+$";',
        limits={"regex_s": 0.2},
    ),
    "R207": Example(
        'echo length(str_repeat("x", 100000));', 'echo length(str_repeat("x", 1000));', limits={"string_bytes": 1 << 16}
    ),
    # R3xx run time: hooks and services
    "R301": Example('Accept(["resaon" => "fine"]);', 'Accept(["reason" => "fine"]);', hook="rcptto"),
    "R302": Example('Reject("no", ["disconnect" => "yes"]);', 'Reject("no", ["disconnect" => true]);', hook="rcptto"),
    "R303": Example('Accept(["recipient" => "nobody@"]);', 'Accept(["recipient" => "nobody@example.org"]);', hook="rcptto"),
    "R304": Example(
        'Reject("no", ["reply_codes" => ["code" => 450]]);',
        'Reject("no", ["reply_codes" => ["code" => 550]]);',
        hook="rcptto",
    ),
    "R305": Example(
        "Bounce();", 'if (isset($arguments["action"])) Bounce();', hook="postdelivery", facts={"errorcode": "250"}
    ),
    "R306": Example('Try(["sourceip" => ["netaddr:9"]]);', 'Try(["sourceip" => ["netaddr:1"]]);', hook="predelivery"),
    "R307": Example('if (ScanSA() >= 5) Reject("spam");', 'if (GetHeader("X-Spam") == "yes") Reject("spam");', hook="data"),
    "R308": Example('AddHeader("X Spam", "yes");', 'AddHeader("X-Spam", "yes");', hook="data"),
    "R309": Example('memory_store("f", function () { return 1; });', 'memory_store("f", [1, "a"]);'),
    "R310": Example('forever { Deliver(["done" => false]); }', 'Deliver(["done" => false]);\nDone();', hook="data"),
    "R311": Example(
        'forever { mail("", "a@example.com", "Hello", "Hi"); }', 'mail("", "a@example.com", "Hello", "Hi");', hook="connect"
    ),
    "R330": Example(
        '$all = [];\nfor ($i = 0; $i < 300; $i++) $all[] = Socket("AF_INET", "SOCK_STREAM");',
        'for ($i = 0; $i < 300; $i++) {\n  $socket = Socket("AF_INET", "SOCK_STREAM");\n  $socket->close();\n}',
    ),
    "R340": Example(
        'echo Redis()->command("GET", "key");',
        'try { echo Redis()->command("GET", "key"); } catch ($error) { echo $error->message(); }',
    ),
    "R341": Example(
        '$user = outgoing_user("bob@example.com", "secret");',
        'try { $user = outgoing_user("bob@example.com", "secret"); } catch ($error) { echo $error->message(); }',
    ),
    "R320": Example(
        'test("sums", function () { expect(1 + 1, 3); });', 'test("sums", function () { expect(1 + 1, 2); });', hook="test"
    ),
    "R321": Example(
        'test("one", function () { });\ntest("one", function () { });',
        'test("one", function () { });\ntest("two", function () { });',
        hook="test",
    ),
}
