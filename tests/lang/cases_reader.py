"""Reads case files: HSL programs with what is expected of them on their lines. In: a file. Out: `Case`s.

`// expect: a | b` lists what the echoes on that line print, in order. `// error[E204]: text` and `// warning[W501]: text`
name a diagnostic or run-time error whose message begins with the text. `// ---` parts programs; `// --- name.hsl` begins
a file that the programs of this case file can include and import. A line `// profile: 2015` gives the programs of the
case file, or the file it stands in, that profile. A program with an error that is found before it runs
echoes nothing: part what it expects from such an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hslpy.lang.profiles import NEWEST, Profile, profile_of

_EXPECT = re.compile(r"//\s*expect: ?(.*)$")
_PROBLEM = re.compile(r"//\s*(?:error|warning)\[([A-Z]\d+)\](?:: ?(.*))?$")
_PROFILE = re.compile(r"^// profile: (\S+)$", re.MULTILINE)
_PART = re.compile(r"^// ---(?:\s+(\S+))?\s*$")


@dataclass(frozen=True)
class Case:
    """One program: its text stands at the same lines as in the file. Lines map to what is expected of them."""

    name: str
    text: str
    echoes: dict[int, str]
    problems: dict[int, tuple[str, str]]
    files: dict[str, str]
    profile: Profile = NEWEST


def written_for(text: str) -> Profile:
    """Give the profile that a text names, or the newest."""
    named = _PROFILE.search(text)
    return profile_of(named[1]) if named else NEWEST


def read_guide(path: Path) -> list[Case]:
    """Give the ```php blocks of a Markdown page as cases, each a program; `// prints` is `// expect:` to a reader."""
    lines, inside = [], False
    for line in path.read_text("utf-8").encode().decode("latin-1").split("\n"):
        if line.startswith("```"):
            inside = line == "```php"
            lines.append("// ---")
        else:
            lines.append(line.replace("// prints ", "// expect: ") if inside else "")
    return parse_cases("\n".join(lines), path.stem)


def read_cases(path: Path) -> list[Case]:
    return parse_cases(path.read_bytes().decode("latin-1"), f"{path.parent.name}/{path.stem}")


def parse_cases(text: str, title: str) -> list[Case]:
    programs: list[tuple[int, list[str]]] = [(0, [])]
    files: dict[str, list[str]] = {}
    current = programs[0][1]
    for number, line in enumerate(text.split("\n"), 1):
        part = _PART.match(line)
        if part is None:
            current.append(line)
        elif part[1]:
            current = files[part[1]] = []
        else:
            programs.append((number, []))
            current = programs[-1][1]
    found = []
    named = {name: "\n".join(lines) for name, lines in files.items()}
    profile = written_for("\n".join(programs[0][1]))
    for before, lines in programs:
        if not any(line.strip() for line in lines):
            continue
        echoes: dict[int, str] = {}
        problems: dict[int, tuple[str, str]] = {}
        for number, line in enumerate(lines, before + 1):
            expect, problem = _EXPECT.search(line), _PROBLEM.search(line)
            if expect:
                echoes[number] = expect[1].strip()
            if problem:
                problems[number] = (problem[1], (problem[2] or "").strip())
        name = title + (f":{before + 1}" if len(programs) > 1 else "")
        found.append(Case(name, "\n" * before + "\n".join(lines), echoes, problems, named, profile))
    return found
