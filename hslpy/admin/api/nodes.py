"""Nodes, and the addresses that they have."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hslpy.admin.api.frame import SUPER, Body, Caller, Done, Paged, Refused, Which, needs, noun
from hslpy.egress import node_addresses
from hslpy.egress.accounts import nodes
from hslpy.egress.accounts.nodes import Node
from hslpy.egress.addresses import inventory
from hslpy.egress.node_addresses import NodeAddress

router = noun("nodes")

READ = needs("directory:read", SUPER, "admin", "read-only")
WRITE = needs("directory:write")


class NewNode(Body):
    """`addresses` are those that it is known to have; it reports them by itself once it runs."""

    name: str
    primary_ipv4: str = ""
    primary_ipv6: str = ""
    ipv6_enabled: bool = True
    addresses: list[str] = Field(default_factory=list)


class NodeChange(Body):
    """`addresses` are added to those it has. `locked` with its `reason` keeps it from delivering."""

    new_name: str | None = None
    primary_ipv4: str | None = None
    primary_ipv6: str | None = None
    ipv6_enabled: bool | None = None
    addresses: list[str] = Field(default_factory=list)
    locked: bool | None = None
    reason: str = ""


class Rescan(Body):
    """Which nodes are to report their addresses; none: all."""

    nodes: list[str] = Field(default_factory=list)


class Public(Body):
    """What a private address is translated to; empty: nothing."""

    public_address: str


@router.get("/nodes", summary="List nodes")
def list_nodes(caller: Annotated[Caller, READ], page: Which) -> Paged[Node]:
    return page.of(nodes.list_nodes(caller.site.database))


@router.post("/nodes", summary="Add a node", status_code=201)
def add_node(caller: Annotated[Caller, WRITE], body: NewNode) -> Node:
    given = body.given
    return nodes.add_node(caller.site.database, caller.actor, given.pop("name"), **given)


@router.post("/nodes/rescan", summary="Have nodes report their addresses now, within 10 seconds")
def rescan(caller: Annotated[Caller, needs("ips:write")], body: Rescan) -> Done:
    with caller.site.database.change(caller.actor, "node rescan", {"nodes": body.nodes}) as change:
        inventory.ask_rescan(change, body.nodes)
    return Done(text="the addresses will be reported within 10 seconds")


@router.patch("/nodes/{name}", summary="Change a node, lock or unlock it")
def set_node(caller: Annotated[Caller, WRITE], name: str, body: NodeChange) -> Node:
    database, actor, given = caller.site.database, caller.actor, body.given
    locked, reason = given.pop("locked", None), given.pop("reason", "")
    if reason and not locked:
        raise Refused("'reason' goes with 'locked'")
    if locked is None:
        return nodes.set_node(database, actor, name, **given)
    if given:
        name = nodes.set_node(database, actor, name, **given).name
    return nodes.lock_node(database, actor, name, reason) if locked else nodes.unlock_node(database, actor, name)


@router.delete("/nodes/{name}", summary="Remove a node with its addresses and delivery IPs")
def remove_node(caller: Annotated[Caller, WRITE], name: str, only_look: bool = False) -> Done:
    return Done(text=nodes.remove_node(caller.site.database, caller.actor, name, only_look=only_look).text)


@router.get("/nodes/{name}/addresses", summary="List a node's addresses with what is known of each")
def list_addresses(caller: Annotated[Caller, needs("ips:read")], name: str) -> list[NodeAddress]:
    return list(node_addresses.addresses_of(caller.site.database, name, caller.site.clock.time()))


@router.put("/nodes/{name}/addresses/{address}", summary="Say what a private address is translated to (NAT)")
def set_public(caller: Annotated[Caller, needs("ips:write")], name: str, address: str, body: Public) -> Done:
    told = {"node": name, "address": address, "public_address": body.public_address}
    with caller.site.database.change(caller.actor, "node nat", told) as change:
        inventory.set_public_address(change, name, address, body.public_address)
    return Done(
        text=f"{address} is translated to {body.public_address}" if body.public_address else f"{address} is not translated"
    )
