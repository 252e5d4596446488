"""`hslpy ip`: which addresses mail leaves from, and whether they are fit for it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from hslpy.cli.admin import quoted
from hslpy.cli.orders import Order, answer, command, file_of, nothing
from hslpy.cli.output import line, table
from hslpy.cli.reach import Api
from hslpy.cli.warmup import WARMUP
from hslpy.errors import OperatorError

_COLUMNS = ("id", "level", "admin", "domain", "username", "identity", "hostname", "ipv4", "ipv6", "status", "helos")
_BAD = ("critical",)
LEVELS = {"user": "username", "identity": "identity"}


def _rules(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rule", action="append", default=[], metavar="FIELD:OPERATOR:VALUE", help="such as `domain:contains:example`"
    )
    parser.add_argument("--any", action="store_true", help="any of the rules, in place of all")
    parser.add_argument("--sort", default="", metavar="FIELD", help="with `-` the largest first: `--sort=-changed`")


def _asked(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"rule": arguments.rule, "match": "any" if arguments.any else "", "sort": arguments.sort}


def _scope(parser: argparse.ArgumentParser, *, admin: bool = True) -> None:
    parser.add_argument("--domain", default="", metavar="DOMAIN", help="whose mail; left out, or `default`: everybody's")
    parser.add_argument("--user", default="", metavar="USER", help="the outgoing user of that domain; or `user@domain`")
    parser.add_argument("--identity", default="", metavar="TEXT", help="the identity of that user, or domain")
    if admin:
        parser.add_argument("--admin", default="", metavar="ADMIN", help="the mail of an admin's domains")


def _named(arguments: argparse.Namespace) -> dict[str, str]:
    """Raises OperatorError for a user of no domain."""
    domain, username = arguments.domain, arguments.user
    if username and not domain:
        username, _, domain = username.rpartition("@")
        if not username:
            raise OperatorError("--user wants --domain", hint="or both as `--user user@domain`")
    return {"domain": domain, "username": username, "identity": arguments.identity}


def _node(parser: argparse.ArgumentParser, *, wanted: bool = True, help: str = "the server's host name") -> None:
    parser.add_argument("--node", required=wanted, default="", metavar="NODE", help=help)


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    _rules(parser)
    parser.add_argument("--columns", default="", metavar="NAMES", help="with `,` between")
    parser.add_argument("--limit", type=int, default=500, metavar="N", help="print at most N rows, 500 at most")


def _list(api: Api, arguments: argparse.Namespace) -> int:
    found = api.get("/delivery-ips", **_asked(arguments), columns=arguments.columns, per_page=arguments.limit)
    rows, total = found["items"], found["total"]
    columns: Sequence[str] = [one for one in rows[0] if one != "version"] if rows and arguments.columns else _COLUMNS
    more = f"\n({len(rows)} of {total})" if total > len(rows) else ""
    return answer(arguments, found, lambda: table(rows, columns, "No settings match these rules.") + more)


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    _scope(parser, admin=False)
    _node(parser, wanted=False)


def _show(api: Api, arguments: argparse.Namespace) -> int:
    asked = {**_named(arguments), "filtering_host": arguments.node}
    found = api.get("/delivery-ips/in-force", **asked)
    lines = [f"{node}  {value}" for node, value in found["nodes"].items()]
    return answer(arguments, found, "\n".join([*lines, *_warned(found)]))


def _set_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "addresses", nargs="*", metavar="ADDRESS",
        help="those there are from now on; 0.0.0.0 and ::0 are the primary ones; none: the setting is removed",
    )  # fmt: skip
    _node(parser)
    _scope(parser)
    parser.add_argument("--disable-ipv4", action="store_true", help="deliver over IPv6 alone")
    parser.add_argument(
        "--strict", action=argparse.BooleanOptionalAction, help="whether mail waits where none of the addresses can be used"
    )


def _set(api: Api, arguments: argparse.Namespace) -> int:
    named = _named(arguments)
    domain = named["domain"] or ("" if arguments.admin else "default")
    addresses = [one for text in arguments.addresses for one in text.split(";") if one.strip()]
    body = {**named, "domain": domain, "admin": arguments.admin, "filtering_host": arguments.node}
    body |= {"interfaces": addresses, "disable_ipv4": arguments.disable_ipv4}
    done = api.call("PUT", "/delivery-ips", body | ({} if arguments.strict is None else {"strict": arguments.strict}))
    text = "the setting was removed" if not addresses and not arguments.disable_ipv4 else "the setting was saved"
    return _changed(api, arguments, done, text)


def _changed(api: Api, arguments: argparse.Namespace, done: dict[str, Any], text: str) -> int:
    lines = [text, *_warned(done), *(f"failed: {one['id']}: {one['message']}" for one in done["failed"])]
    if done["undo"]:
        lines.append(f"`hslpy ip undo -- {done['undo']}` takes this back")
    answer(arguments, done, "\n".join(lines))
    return 1 if done["failed"] else 0


def _warned(found: dict[str, Any]) -> list[str]:
    return [f"warning: {one}" for one in found["warnings"]]


def _ids_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", type=int, metavar="ID", help="of settings, as `hslpy ip list` prints them")
    _rules(parser)


def _chosen(api: Api, arguments: argparse.Namespace, rules: Sequence[str] = ()) -> list[int]:
    """Give the ids of the settings that are meant. Raises OperatorError where none is named."""
    if arguments.ids and arguments.rule:
        raise OperatorError("ids or rules are wanted, not both")
    rules = arguments.rule or rules
    if not arguments.ids and not rules:
        raise OperatorError("ids or rules are wanted", hint="`hslpy ip list` shows the ids")
    return arguments.ids or list(api.get("/delivery-ips/ids", **{**_asked(arguments), "rule": rules}))


def _remove(api: Api, arguments: argparse.Namespace) -> int:
    done = api.call("POST", "/delivery-ips/remove", {"ids": _chosen(api, arguments)})
    number = len(done["rows"]) + len(done["removed"])
    return _changed(api, arguments, done, f"{number} removed")


def _replace_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD", help="the address that is to go")
    parser.add_argument("new", metavar="NEW", help="the address in its place")
    _ids_arguments(parser)
    parser.add_argument("--confirmed", action="store_true", help="though messages of locked senders are queued")


def _replace(api: Api, arguments: argparse.Namespace) -> int:
    family = "ipv6" if ":" in arguments.old else "ipv4"
    ids = _chosen(api, arguments, [f"{family}:is:{arguments.old}"])
    if not ids:
        raise OperatorError(f"no setting has {arguments.old}", hint="`hslpy ip list` shows them", exit_code=1)
    body = {"ids": ids, "old": arguments.old, "new": arguments.new, "confirmed": arguments.confirmed}
    done = api.call("POST", "/delivery-ips/replace", body)
    count = len(done["rows"])
    return _changed(api, arguments, done, f"{arguments.old} was replaced in {count} setting{'' if count == 1 else 's'}")


def _undo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ticket", metavar="TICKET", help="what the change printed")


def _undo(api: Api, arguments: argparse.Namespace) -> int:
    return _changed(api, arguments, api.call("POST", "/delivery-ips/undo", {"undo": arguments.ticket}), "taken back")


def _explain_arguments(parser: argparse.ArgumentParser) -> None:
    _node(parser, wanted=False, help="the server's host name; left out: the only one there is")
    _scope(parser, admin=False)
    parser.add_argument("--ipv6", action="store_true", help="towards receivers with IPv6, in place of IPv4")


def _explain(api: Api, arguments: argparse.Namespace) -> int:
    named = _named(arguments)
    domain = "" if named["domain"] == "default" else named["domain"]
    asked = {**named, "domain": domain, "node": arguments.node, "family": 6 if arguments.ipv6 else 4}
    found = api.get("/delivery-ips/explain", **asked)
    return answer(arguments, found, lambda: _explained(found))


def _explained(found: dict[str, Any]) -> str:
    lines, pool = [], []
    for step in found["steps"]:
        if step["wins"]:
            pool = [one["address"] for one in step["candidates"] if not one["reason"]]
        value = "nothing is set" if step["value"] is None else "; ".join(step["value"]) or "automatic"
        lines.append(f"{'*' if step['wins'] else ' '} {line(step['scope'])}: {value}")
        if step["value"] is not None and not (step["wins"] and len(pool) > 1):
            lines.append(f"    {step['finding']}")
        lines += [f"    {one['address']} is skipped: {one['reason']}" for one in step["candidates"] if one["reason"]]
    what = found["address"] or {"automatic": "the system takes one"}.get(found["kind"], found["kind"])
    if len(pool) > 1:
        what = f"one of {', '.join(pool)}"
    held = [f"its mail is held: {found['held_because']}"] if found["held_because"] else []
    return "\n".join([*lines, f"{found['node']}, IPv{found['family']}: {what}", *held])


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("addresses", nargs="*", metavar="ADDRESS", help="none: all that nodes have or are to use")
    _node(parser, wanted=False, help="the server's host name; left out: each that has them")
    parser.add_argument("--replacing", default="", metavar="ADDRESS", help="the address that these are to replace")
    parser.add_argument("--all", action="store_true", help="print what is right as well")
    parser.add_argument("--kept", action="store_true", help="print what was found last, without checking")


def _check(api: Api, arguments: argparse.Namespace) -> int:
    if arguments.kept:
        wanted = set(arguments.addresses)
        kept = [one for one in api.get("/checks", node=arguments.node) if not wanted or one["address"] in wanted]
        return _found(arguments, kept)
    found = []
    for node in [arguments.node] if arguments.node else [one["name"] for one in api.rows("/nodes")]:
        known = api.get(f"/nodes/{quoted(node)}/addresses")
        there = {one["address"]: one["can_send"] for one in known if one["present"] or one["used"]}
        addresses = arguments.addresses if arguments.node else [one for one in arguments.addresses if one in there]
        if not arguments.addresses:
            addresses = [address for address, can_send in there.items() if can_send]
        for index in range(0, len(addresses), 8):
            body = {"node": node, "addresses": addresses[index : index + 8], "replacing": arguments.replacing}
            found += api.call("POST", "/checks", body)
    strange = set(arguments.addresses) - {one["address"] for one in found}
    if strange and not arguments.node:
        raise OperatorError(f"no node has {', '.join(sorted(strange))}: --node says where to check it")
    return _found(arguments, found)


def _found(arguments: argparse.Namespace, found: list[dict[str, Any]]) -> int:
    answer(arguments, found, lambda: "\n".join(_checked(one, arguments.all) for one in found) or "there are no addresses")
    return 1 if any(one["status"] in _BAD for one in found) else 0


def _checked(one: dict[str, Any], every: bool) -> str:
    lines = [f"{one['address']} on {one['node']}: {one['status']}"]
    for finding in one["findings"]:
        if every or finding["outcome"] not in ("pass", "info"):
            lines.append(f"  {finding['check']} {finding['outcome']:<8}  {line(finding['text'])}")
    return "\n".join(lines)


def _ehlo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", nargs="?", metavar="ADDRESS", help="left out: list the names that were set")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the HELO name; left out: show the one in force")
    parser.add_argument("--remove", action="store_true", help="remove the name: it is the reverse DNS name again")
    parser.add_argument("--incoming", action="store_true", help="of deliveries to customers' own servers")


def _ehlo(api: Api, arguments: argparse.Namespace) -> int:
    columns = ("address", "helo", "origin", "default")
    way = {"direction": "incoming"} if arguments.incoming else {}
    if arguments.remove and (arguments.name or not arguments.address):
        raise OperatorError("--remove wants an address and no name")
    if arguments.address is None:
        rows = api.get("/helos", **way)
        return answer(arguments, rows, lambda: table(rows, columns, "no HELO name was set"))
    path = f"/helos/{quoted(arguments.address)}"
    if arguments.name is None and not arguments.remove:
        found = api.get(path, **way)
        return answer(arguments, found, lambda: table([found], columns))
    done = api.call("PUT", path, {"helo": arguments.name or ""}, params=way)
    text = f"{arguments.address}: {done['effective']['helo']}"
    return answer(arguments, done, "\n".join([text, *_warned(done)]))


def _suspend_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS")
    _node(parser, wanted=False, help="on this server alone; left out: on all that have it")
    parser.add_argument("--hours", type=float, metavar="N", help="for so long; left out: until it is resumed")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why")


def _suspend(api: Api, arguments: argparse.Namespace) -> int:
    body = {"address": arguments.address, "node": arguments.node, "hours": arguments.hours, "reason": arguments.reason}
    done = api.call("POST", "/suspensions", body)
    where = f" on {done['node']}" if done["node"] else ""
    end = f"for {arguments.hours:g} hours" if arguments.hours else f"until `hslpy ip resume {done['address']}`"
    return answer(arguments, done, f"nothing is sent from {done['address']}{where} {end}")


def _resume_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS")
    _node(parser, wanted=False, help="what was suspended on this server alone; left out: all of it")


def _resume(api: Api, arguments: argparse.Namespace) -> int:
    params = {"node": arguments.node} if arguments.node else {}
    done = api.call("DELETE", f"/suspensions/{quoted(arguments.address)}", params=params)
    return answer(arguments, done, done["text"])


def _suspended(api: Api, arguments: argparse.Namespace) -> int:
    rows = api.get("/suspensions")
    return answer(arguments, rows, lambda: table(rows, ("address", "node", "by", "reason"), "no address is suspended"))


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="CSV, as `hslpy ip export` prints it; `-`: standard input")
    parser.add_argument("--preview", action="store_true", help="only say what would come of it")


def _import(api: Api, arguments: argparse.Namespace) -> int:
    params = {"preview": "true" if arguments.preview else ""}
    rows = api.call("POST", "/delivery-ips/import", params=params, file=file_of(arguments.file))
    answer(arguments, rows, lambda: table(rows, ("line", "outcome", "text"), "the file has no rows"))
    return 1 if any(one["outcome"] == "failed" for one in rows) else 0


def _export(api: Api, arguments: argparse.Namespace) -> int:
    params = {**_asked(arguments), "id": arguments.ids}
    text = api.get("/delivery-ips/export.csv", **params)
    print(text.replace("\r\n", "\n"), end="")
    return 0


COMMAND = command(
    "ip",
    "which addresses mail leaves from, and whether they are fit for it",
    (
        Order("list", "list settings by rules", _list_arguments, _list),
        Order("show", "show the addresses in force for a domain, a user or an identity", _show_arguments, _show),
        Order("set", "set the addresses of one scope on one node, in place of those there are", _set_arguments, _set),
        Order("remove", "remove settings: their scopes inherit again", _ids_arguments, _remove),
        Order("replace", "put one address in another's place, in all settings or some", _replace_arguments, _replace),
        Order("undo", "take a change back, for a while", _undo_arguments, _undo),
        Order("explain", "explain why mail of a sender leaves from where", _explain_arguments, _explain),
        Order("check", "check addresses; exit status 1 where something is critical", _check_arguments, _check),
        Order("ehlo", "list, show, set or remove HELO names", _ehlo_arguments, _ehlo),
        Order("suspend", "send nothing from an address for a while", _suspend_arguments, _suspend),
        Order("resume", "use an address again that was suspended", _resume_arguments, _resume),
        Order("suspended", "list the addresses that are suspended", nothing, _suspended),
        WARMUP,
        Order("import", "set what each line of a CSV file says", _import_arguments, _import),
        Order("export", "print settings as CSV", _ids_arguments, _export),
    ),
    description="Without a running server the database is changed itself: all can be set up before the first start.\n"
    "  hslpy ip set --node node1.example.net --domain example.com 192.0.2.11 2001:db8::11\n"
    "  hslpy ip explain --domain example.com --user bob\n"
    "  hslpy ip check 192.0.2.11",
)
