"""`hslpy dnsbl`: block lists, and what they say of the addresses that mail leaves from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from hslpy.cli import passwords
from hslpy.cli.admin import quoted
from hslpy.cli.orders import Order, answer, command, file_of, nothing
from hslpy.cli.output import line, table
from hslpy.cli.reach import Api
from hslpy.errors import OperatorError

_COLUMNS = ("id", "name", "zone", "word", "enabled", "families", "kind", "needs_key", "tested_at", "note")
_ASK_S = 0.5


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--contains", default="", metavar="TEXT", help="only those whose name or domain has it")


def _list(api: Api, arguments: argparse.Namespace) -> int:
    rows = api.rows("/block-lists", rule=[f"both:contains:{arguments.contains}"] if arguments.contains else [])
    return _listed(arguments, rows)


def _listed(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> int:
    return answer(arguments, rows, lambda: table(rows, _COLUMNS, "No lists configured."))


def _advanced(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--families", metavar="4,6", help="the families of addresses that it has")
    parser.add_argument("--codes", metavar="TEXT", help="what its return codes mean, such as `127.0.0.2 spam source`")
    parser.add_argument("--kind", metavar="KIND", help="address, neighbourhood or informational")
    parser.add_argument("--key-stdin", action="store_true", help="read the key to ask it with from standard input")
    parser.add_argument("--removal-url", metavar="URL", help="where to ask for a removal")


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    told = {"codes": arguments.codes, "kind": arguments.kind, "removal_url": arguments.removal_url}
    body: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
    if arguments.families is not None:
        try:
            body["families"] = [int(one) for one in arguments.families.split(",")]
        except ValueError:
            raise OperatorError("--families wants 4, 6 or 4,6") from None
    if arguments.key_stdin:
        body["key"] = passwords.text_of(passwords.from_input())
    return body


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("domain", metavar="DOMAIN", help="the DNSBL domain, such as bl.example.net")
    _advanced(parser)
    parser.add_argument(
        "--untested", choices=("disabled", "anyway"), help="add it though it does not pass its test: disabled, or as it is"
    )


def _add(api: Api, arguments: argparse.Namespace) -> int:
    body = {"name": arguments.name, "domain": arguments.domain, **_given(arguments)}
    row = api.call("POST", "/block-lists", body | ({"untested": arguments.untested} if arguments.untested else {}))
    return answer(arguments, row, lambda: table([row], _COLUMNS))


def _set_arguments(parser: argparse.ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--name", metavar="NAME", help="the new name")
    parser.add_argument("--domain", metavar="DOMAIN", help="the new DNSBL domain")
    parser.add_argument("--enabled", action=argparse.BooleanOptionalAction, default=None, help="whether it is asked")
    _advanced(parser)


def _set(api: Api, arguments: argparse.Namespace) -> int:
    body = _given(arguments)
    body |= {name: value for name in ("name", "domain") if (value := getattr(arguments, name)) is not None}
    if not body and arguments.enabled is None:
        raise OperatorError("nothing was chosen to be changed", hint="try `hslpy dnsbl set --help`")
    found = _find(api, [arguments.which])[0]
    if body:
        found = api.call("PATCH", f"/block-lists/{found['id']}", body)
    if arguments.enabled is not None:
        done = api.call("POST", "/block-lists/enable", {"ids": [found["id"]], "enabled": arguments.enabled})
        if not done["outcomes"][0]["done"]:
            raise OperatorError(done["outcomes"][0]["message"], exit_code=1)
        found = _find(api, [str(found["id"])])[0]
    return answer(arguments, found, lambda: table([found], _COLUMNS))


def _one(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("which", metavar="LIST", help="its name, its domain or its id")


def _some(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("which", nargs="+", metavar="LIST", help="a name, a domain or an id")


def _test_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("which", nargs="*", metavar="LIST", help="names, domains or ids; none: all that are enabled")


def _find(api: Api, names: Sequence[str]) -> list[dict[str, Any]]:
    """Give the lists that are named. Raises OperatorError."""
    rows = api.rows("/block-lists")
    found = []
    for name in names:
        wanted = name.strip().lower().rstrip(".")
        same = [one for one in rows if wanted in (str(one["id"]), one["name"].lower(), one["zone"].lower())]
        if not same:
            raise OperatorError(f"there is no list '{name}'", hint="`hslpy dnsbl list` shows them", exit_code=1)
        found.append(same[0])
    return found


def _remove(api: Api, arguments: argparse.Namespace) -> int:
    done = api.call("POST", "/block-lists/remove", {"ids": [one["id"] for one in _find(api, arguments.which)]})
    return _outcomes(arguments, done, "removed")


def _outcomes(arguments: argparse.Namespace, done: dict[str, Any], word: str) -> int:
    rows = done["outcomes"]
    lines = [f"{line(one['name'])} {word if one['done'] else 'failed: ' + one['message']}" for one in rows]
    answer(arguments, rows, "\n".join(lines))
    return 0 if all(one["done"] for one in rows) else 1


def _test(api: Api, arguments: argparse.Namespace) -> int:
    found = _find(api, arguments.which) if arguments.which else [one for one in api.rows("/block-lists") if one["enabled"]]
    rows = [api.call("POST", f"/block-lists/{one['id']}/test") for one in found]
    columns = ("name", "zone", "word", "status_detail", "tests")
    answer(arguments, rows, lambda: table(rows, columns, "No lists configured."))
    return 0 if all(one["status"] == "working" for one in rows) else 1


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("addresses", nargs="*", metavar="ADDRESS", help="none: all that mail may leave from")
    parser.add_argument("--list", action="append", default=[], metavar="LIST", help="a list to ask; none: those enabled")
    parser.add_argument("--anyway", action="store_true", help="ask again for results that still hold")
    parser.add_argument("--kept", action="store_true", help="print what was found last, without asking")


def _check(api: Api, arguments: argparse.Namespace) -> int:
    if not arguments.kept:
        lists = [one["id"] for one in _find(api, arguments.list)] if arguments.list else None
        body = {"addresses": arguments.addresses or None, "lists": lists, "anyway": arguments.anyway}
        job = api.call("POST", "/reputation/jobs", body)
        while job["state"] == "running":
            api.wait(_ASK_S)
            job = api.get(f"/reputation/jobs/{job['id']}")
    found = _matrix(api)
    wanted = {one.strip().lower() for one in arguments.addresses}
    rows = [one for one in found["items"] if not wanted or wanted & {one["address"]["address"], one["address"]["asked"]}]
    names = {str(one["id"]): one["name"] for one in found["lists"]}
    told = {**found, "items": rows}
    asked = {str(one["id"]) for one in _find(api, arguments.list)} if arguments.list else set(names)
    answer(arguments, told, lambda: "\n".join(_result(one, names, asked) for one in rows) or "there are no addresses")
    return 1 if any(one["worst"] == "listed" for one in rows) else 0


def _matrix(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.get("/reputation", per_page=500)
    for page in range(2, found["pages"] + 1):
        found["items"] += api.get("/reputation", per_page=500, page=page)["items"]
    return found


def _result(row: dict[str, Any], names: dict[str, str], asked: set[str]) -> str:
    own = row["address"]
    private = any(cell["status"] == "private" for cell in row["cells"].values())
    summary = "a private address: say what it is translated to (`hslpy node nat`)" if private else row["summary"]
    lines = [f"{own['address']} ({', '.join(own['nodes'])}): {summary}"]
    for key, cell in row["cells"].items():
        if key in asked and cell["status"] not in ("clean", "not checked", "not applicable", "private"):
            detail = "; ".join(filter(None, (*cell["codes"], *cell["meanings"], *cell["reasons"], cell["detail"])))
            lines.append(f"  {line(names.get(key, key))}: {cell['word']}{f' ({line(detail)})' if detail else ''}")
    return "\n".join(lines)


def _history_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS")


def _history(api: Api, arguments: argparse.Namespace) -> int:
    rows = api.get(f"/reputation/history/{quoted(arguments.address)}")
    columns = ("list_name", "zone", "codes", "from_at", "to_at")
    return answer(arguments, rows, lambda: table(rows, columns, "it was never listed, but for what is listed now"))


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="CSV with rbl_hostname,rbl_name; `-`: standard input")
    parser.add_argument("--preview", action="store_true", help="only say what would come of it")


def _import(api: Api, arguments: argparse.Namespace) -> int:
    params = {"preview": "true" if arguments.preview else ""}
    done = api.call("POST", "/block-lists/import", params=params, file=file_of(arguments.file))
    columns = ("line", "zone", "name", "outcome", "reason")
    answer(arguments, done, lambda: f"{table(done['rows'], columns, 'the file has no rows')}\n{done['text']}")
    return 1 if any(one["outcome"] == "invalid" for one in done["rows"]) else 0


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("which", nargs="*", metavar="LIST", help="names, domains or ids; none: all")


def _export(api: Api, arguments: argparse.Namespace) -> int:
    ids = [one["id"] for one in _find(api, arguments.which)] if arguments.which else []
    print(api.get("/block-lists/export.csv", id=ids).replace("\r\n", "\n"), end="")
    return 0


def _restore(api: Api, arguments: argparse.Namespace) -> int:
    done = api.call("POST", "/block-lists/restore")
    return answer(arguments, done, done["text"])


COMMAND = command(
    "dnsbl",
    "block lists, and what they say of the addresses that mail leaves from",
    (
        Order("list", "list block lists", _list_arguments, _list),
        Order("add", "test a list and add it", _add_arguments, _add),
        Order("set", "change a list, switch it on or off", _set_arguments, _set),
        Order("remove", "remove lists; those that come with hslpy can be had back", _some, _remove),
        Order("test", "ask lists for their test entries; exit status 1 where one does not work", _test_arguments, _test),
        Order("check", "check addresses on lists; exit status 1 where one is listed", _check_arguments, _check),
        Order("history", "list the listings of an address that are over", _history_arguments, _history),
        Order("import", "add and rename lists by a CSV file", _import_arguments, _import),
        Order("export", "print lists as CSV, without their keys", _export_arguments, _export),
        Order("restore", "bring back the lists that come with hslpy and were removed", nothing, _restore),
    ),
)
