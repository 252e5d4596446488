"""The reference pages, made from the tables. In: the rows. Out: Markdown by file name. Nothing is written down twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hslpy.builtins import key_of
from hslpy.builtins.generations import generation
from hslpy.hooks.table import Hook
from hslpy.lang.declare import Builtin
from hslpy.lang.profiles import Profile, Switch
from hslpy.mail.verdict import Verdict
from hslpy.tooling.events import Fact
from hslpy.tooling.verdicts import verdict_lines

HEAD = "<!-- Made from the tables by `python -m hslpy.cli.reference`; change the rows, not this page. -->\n\n"
FAMILIES = {
    "E1": "Syntax",
    "E2": "Names and calls",
    "E3": "Classes and modules",
    "E4": "Not supported here",
    "W5": "Warnings",
    "R1": "Run time: operators and functions",
    "R2": "Run time: limits",
    "R3": "Run time: hooks and services",
}


def functions_page(rows: Iterable[Builtin]) -> str:
    """Give the page of all builtins: signature, what it does, where it exists, examples."""
    topics: dict[str, list[Builtin]] = {}
    for row in rows:
        topics.setdefault(row.topic, []).append(row)
    out = [HEAD, "# Functions\n"]
    for topic in sorted(topics, key=str.lower):
        out.append(f"\n## {topic[0].upper() + topic[1:]}\n")
        for row in sorted(topics[topic], key=lambda r: (r.owner or "", r.name.lower(), r.hooks or ())):
            out.append(f"\n### {key_of(row)}\n\n```\n{row.signature.text}\n```\n\n{_paragraphs(row.doc)}\n")
            if row.hooks:
                out.append(f"\nAt: {', '.join(row.hooks)}.\n")
            years = generation(key_of(row))
            if years:
                out.append(f"\n{years[0].upper()}{years[1:]}.\n")
            if row.deprecated:
                out.append(f"\nOlder name; today: {row.deprecated}.\n")
            if row.examples:
                out.append("\n```php\n" + "\n".join(row.examples) + "\n```\n")
    return "".join(out)


def hooks_page(hooks: Sequence[Hook], rows: Iterable[Builtin]) -> str:
    """Give the page of hooks: when each runs, what scripts see there, what they can call that is not there everywhere."""
    rows = list(rows)
    out = [HEAD, "# Hooks\n\nFunctions that exist everywhere are in [functions](functions.md).\n"]
    for hook in hooks:
        out.append(f"\n## {hook.name}\n\nRuns at: {hook.moment}.\n\n")
        out.append(f"A script that ends without a verdict: {_implicit(hook)}. A script that fails: {hook.outcome}.\n\n")
        own = [row for row in rows if row.hooks is not None and hook.name in row.hooks and row.owner is None]
        names = ", ".join(f"`{row.name}`" for row in sorted(own, key=lambda row: row.name.lower()))
        out.append(f"Its own functions: {names or 'none'}.\n\n| variable | type | what it is |\n|---|---|---|\n")
        for fact in hook.facts:
            kind = " or ".join(fact.types) + (", may be assigned" if fact.writable else "")
            out.append(f"| `${fact.name}` | {kind} | {cell(fact.help)} |\n")
    return "".join(out)


def _implicit(hook: Hook) -> str:
    if hook.name == "data":
        return "the recipient is delivered to"
    return _short(hook.implicit)


def _short(verdict: Verdict) -> str:
    return next(verdict_lines(verdict)).removeprefix("verdict: ").partition("  (")[0]


def profiles_page(profiles: Sequence[Profile], switches: Sequence[Switch], hooks: Sequence[Hook]) -> str:
    """Give the page of profiles: what the language and the hooks do in each."""
    introduction = (
        "The setting `hooks.profile` says which year's behaviour scripts are written for, `hooks.profiles` the same for\n"
        "single files and folders. A release such as `4.6` means the profile that it is in; the default is `newest`. The\n"
        "[guide](../guide/profiles.md) says how to choose."
    )
    page = table_page(
        "Profiles",
        introduction,
        ("profile", "releases"),
        [("The profiles", (f"`{row.name}`", row.releases)) for row in profiles],
    )
    out = [page, "\n## What differs\n\n| what | in profiles | happens |\n|---|---|---|\n"]
    cases = [(one.about, [one.on if getattr(row, one.name) else one.off for row in profiles]) for one in switches]
    for hook in hooks:
        rows = [hook.in_profile(profile) for profile in profiles]
        cases += [
            (f"a script of `{hook.name}` ends without a verdict", [_ending(row) for row in rows]),
            (f"a script of `{hook.name}` fails", [row.outcome for row in rows]),
            (
                f"a script of `{hook.name}` gives Bounce or Delete",
                ["that ends the matter" if row.settles else "the post-delivery hook is asked" for row in rows],
            ),
        ]
    for what, each in cases:
        for happens in dict.fromkeys(each) if len(set(each)) > 1 else ():
            names = ", ".join(f"`{row.name}`" for row, one in zip(profiles, each, strict=True) if one == happens)
            out.append(f"| {what} | {names} | {cell(happens)} |\n")
            what = ""
    return "".join(out)


def _ending(hook: Hook) -> str:
    if hook.implicit_with is None:
        return _implicit(hook)
    name, verdict = hook.implicit_with
    return f"{_implicit(hook)}; where it has set `${name}`: {_short(verdict)}"


def facts_page(facts: Sequence[Fact]) -> str:
    """Give the page of what can be set for a hook tried out: with --set, or in run_hook()."""
    introduction = (
        "What `hslpy run --hook` and `hslpy repl --hook` take with `--set NAME=VALUE`, and `run_hook()` in script tests in\n"
        "its array of facts. Lists are given as `a,b`, tables as `key=value,key=value`."
    )
    rows = (("All of them", (f"`{f.name}`", f.kind, _fact_default(f), f.help)) for f in facts)
    return table_page("Facts for trying hooks out", introduction, ("name", "kind", "default", "what it is"), rows)


def _fact_default(fact: Fact) -> str:
    if fact.default is None or fact.default in ("", {}):
        return ""
    return f"`{str(fact.default).lower() if isinstance(fact.default, bool) else fact.default}`"


def table_page(title: str, introduction: str, columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Give a page of tables: `rows` are (heading, cells); a new heading starts a new table."""
    out = [HEAD, f"# {title}\n\n{introduction}\n"]
    heading = None
    for section, cells in rows:
        if section != heading:
            heading = section
            out.append(f"\n## {section}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n")
        out.append(f"| {' | '.join(cell(text) for text in cells)} |\n")
    return "".join(out)


def _paragraphs(doc: str) -> str:
    return "\n".join(line.strip() for line in doc.strip().splitlines())


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
