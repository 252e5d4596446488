"""ScanDMARC: what the domain in From wants done with the message. In: options. Out: a verdict by the domain, or an error.

Source: RFC 7489; the results are the HSL manual's, 2019.
"""

from __future__ import annotations

from typing import Literal

from hslpy.builtins.core.domains import organizational_domain
from hslpy.builtins.host.dkim_verify import (
    SCRIPT_HOOKS,
    Keys,
    author_domains,
    query,
    signature_result,
    signing_domains,
)
from hslpy.builtins.host.options import TEXT, read_options
from hslpy.builtins.host.state import DataState
from hslpy.dns.contract import NameNotFound, ResolutionFailed
from hslpy.dns.spf import SpfResult, check_host
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Value
from hslpy.mail.dmarc import Policy, read_policy, sampled
from hslpy.mail.message import Message

TOPIC = Topic("DMARC")

MOST_SIGNATURES = 8  # of aligned domains that are checked
_OPTIONS = {"ip": TEXT, "helo": TEXT, "domain": TEXT}

Check = Literal["pass", "fail", "temperror"]


@TOPIC.builtin(
    "ScanDMARC([options: array]) -> array | string",
    effect=Effect.IO,
    hooks=SCRIPT_HOOKS,
    examples=['if (in_array("reject", ScanDMARC())) Reject();', 'ScanDMARC(["ip" => "192.0.2.1"])'],
)
def scan_dmarc(call: Run, options: Array | None = None) -> Array | str:
    """Give what to do with the message by the DMARC policy of the domain in From (RFC 7489): [domain => verdict].

    The verdict is "pass", "none", "quarantine" or "reject" (the policy's, as its `pct` has it), "policy_absent" or
    "temperror". The text "permerror" stands for a message without exactly one author. Options replace what SPF is asked
    for: "ip", "helo" and "domain", of the sender.
    """
    given = read_options("ScanDMARC", options, _OPTIONS)
    state: DataState = call.host.state
    domains = author_domains(call, state.message)
    if domains is None or len(domains) != 1:
        return "permerror"
    (author,) = domains
    return Array.mapping({author: _verdict(call, state.message, author, given)})


def _verdict(call: Run, message: Message, author: str, given: dict[str, Value]) -> str:
    home = organizational_domain(call, author)
    try:
        policy, is_own = _policy(call, author), True
        if policy is None and home != author:
            policy, is_own = _policy(call, home), False
    except ResolutionFailed:
        return "temperror"
    if policy is None:
        return "policy_absent"
    checks = [_spf(call, author, policy, given)]
    if checks[0] != "pass":
        checks.append(_dkim(call, message, author, policy))
    if "pass" in checks:
        return "pass"
    if "temperror" in checks:
        return "temperror"
    action = policy.action if is_own else policy.subdomain_action
    return sampled(action, policy, call.random.random() * 100)


def _policy(call: Run, domain: str) -> Policy | None:
    try:
        return read_policy(query(call, f"_dmarc.{domain}", "TXT"))
    except NameNotFound:
        return None


def _aligned(call: Run, domain: str, author: str, strict: bool) -> bool:
    if strict or domain == author:
        return domain == author
    return organizational_domain(call, domain) == organizational_domain(call, author)


def _spf(call: Run, author: str, policy: Policy, given: dict[str, Value]) -> Check:
    event = call.host.event
    helo = given.get("helo", event.connection.helo.host if event.connection.helo else "")
    domain = given.get("domain", call.host.state.sender.domain)
    if not _aligned(call, (domain or helo).lower(), author, policy.strict_spf):
        return "fail"
    services = call.host.services
    found: SpfResult = call.wait(
        check_host(
            services.resolver,
            given.get("ip", event.connection.remote_ip),
            helo,
            domain,
            receiver=services.hostname,
            now_s=call.clock.time(),
        )
    )
    return "pass" if found.result == "pass" else "temperror" if found.result == "temperror" else "fail"


def _dkim(call: Run, message: Message, author: str, policy: Policy) -> Check:
    result: Check = "fail"
    left = MOST_SIGNATURES
    for domain, field in signing_domains(message):
        call.charge(5)
        if left == 0 or not _aligned(call, domain, author, policy.strict_dkim):
            continue
        left -= 1
        found = signature_result(call, "ScanDMARC", message, field, Keys())
        if found == "pass":
            return "pass"
        if found == "temperror":
            result = "temperror"
    return result
