"""What refusals mean for an address, by replies as receivers send and publish them."""

from __future__ import annotations

import pytest

from hslpy.egress.rules.receivers import group_of, refuses, standing

BLOCKED = [
    "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service provider since"
    " part of their network is on our block list (S3140).",
    "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service provider since"
    " part of their network is on our block list (S3150). You can also refer your provider to"
    " http://mail.live.com/mail/troubleshooting.aspx#errors.",
    "550 5.7.511 Access denied, banned sender[192.0.2.1]. To request removal from this list please forward this message to"
    " delist@messaging.microsoft.com",
    "550 5.7.606 Access denied, banned sending IP [192.0.2.1]. To request removal from this list please visit"
    " https://sender.office.com/ and follow the directions.",
    "550 5.7.1 Service unavailable, Client host [192.0.2.1] blocked using Spamhaus. To request removal from this list see"
    " https://www.spamhaus.org/query/ip/192.0.2.1 (AS3130).",
    "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
    "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.1, because the ip is in Spamhaus's list; see"
    " http://postmaster.yahoo.com/550-bl23.html",
    "554 resimta-po-01v.sys.comcast.net resimta-po-01v.sys.comcast.net 192.0.2.1 found on one or more DNSBLs, see"
    " http://postmaster.comcast.net/smtp-error-codes.php#BL000001",
    "554 5.7.1 Service unavailable; Client host [mx.example.com] blocked using Barracuda Reputation;"
    " http://www.barracudanetworks.com/reputation/?r=1&ip=192.0.2.1",
    "550 5.7.1 Blocked - see https://support.proofpoint.com/dnsbl-lookup.cgi?ip=192.0.2.1",
    "554-gmx.net (mxgmx016) Nemesis ESMTP Service not available No SMTP service IP address is black listed.",
    "550 Mail from 192.0.2.1 refused: listed at UCEPROTECT-Level 2",
    "554 5.7.1 Rejected: 192.0.2.1 listed at bl.spamcop.net",
    "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using combined.mail.abusix.zone; https://lookup.abusix.com",
    "550 RBL: 192.0.2.1 is listed",
]
THROTTLED = [
    "421 4.7.28 [192.0.2.1      15] Our system has detected an unusual rate of unsolicited mail originating from your"
    " IP address. To protect our users from spam, mail sent from your IP address has been temporarily rate limited.",
    "421 4.7.0 [192.0.2.1 15] Our system has detected that this message is suspicious due to the very low reputation of"
    " the sending IP address.",
    "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints -"
    " 4.16.55.1; see https://postmaster.yahooinc.com/error-codes",
    "421 4.7.0 [TS01] Messages from 192.0.2.1 temporarily deferred due to user complaints - 4.16.55.1",
    "421 4.7.1 [TS03] All messages from 192.0.2.1 will be permanently deferred; Retrying will NOT succeed.",
    "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation. For e-mail delivery"
    " information, see https://aka.ms/postmaster (S775)",
    "421 RP-001 (COL004-MC1F1) Unfortunately, some messages from 192.0.2.1 weren't sent. Please try again. We have limits"
    " for how many messages can be sent per hour and per day.",
    "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)",
    "421 4.1.0 192.0.2.1 Throttled - try again later. Please see http://postmaster.comcast.net/smtp-error-codes.php#RL000001",
    "421 4.7.1 Messages to user@icloud.com deferred due to excessive volume. Try again later",
    "421 mwinf5c04 ME Trop de connexions, veuillez verifier votre configuration. Too many connections. OFR_104",
    "421 Too many spams from your IP (192.0.2.1), please visit http://postmaster.free.fr/",
    "421 4.7.0 mx.example.org Error: too many connections from 192.0.2.1",
    "450 4.7.1 Error: too much mail from 192.0.2.1",
    "451 4.7.1 IP temporarily blacklisted - https://community.mimecast.com/docs/DOC-1369#451",
    "421 4.7.1 Try again later - [192.0.2.1] Blocked - see https://support.proofpoint.com/dnsbl-lookup.cgi?ip=192.0.2.1",
    "452 4.2.2 The sending rate limit for your address was exceeded",
]
NEITHER = [
    "250 2.0.0 OK: blocked using zen.spamhaus.org is quoted",
    "450 4.2.0 <a@example.org>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/",
    "451 4.7.1 Greylisting in action, please come back later",
    "421 4.7.0 [GL01] Message from (192.0.2.1) temporarily deferred - 4.16.50. Please refer to"
    " http://postmaster.yahoo.com/errors/postmaster-21.html",
    "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being"
    " delivered.",
    "452 4.2.2 The email account that you tried to reach is over quota.",
    "452 4.5.3 Error: too many recipients",
    "451 4.3.0 Temporary lookup failure",
    "550 5.1.1 <a@example.org>: Recipient address rejected: User unknown in virtual mailbox table",
    "554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes",
    "550 5.7.1 The sender's email address is on the recipient's block list",
    "554 5.7.1 Message contains a URL listed at dbl.spamhaus.org",
    "550 5.7.26 This mail has been blocked because the sender is unauthenticated.",
    "552 5.3.4 Message size exceeds fixed limit",
    "421 4.3.2 Service shutting down",
]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [*((one, "blocked") for one in BLOCKED), *((one, "throttled") for one in THROTTLED), *((one, "") for one in NEITHER)],
)
def test_what_a_reply_means(reply, expected):
    assert standing(int(reply[:3]), reply) == expected


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("gmail-smtp-in.l.google.com.", "google"),
        ("ASPMX.L.GOOGLE.COM", "google"),
        ("example-com.mail.protection.outlook.com", "microsoft"),
        ("mta7.am0.yahoodns.net", "yahoo"),
        ("mx01.mail.icloud.com", "apple"),
        ("notgoogle.com", ""),
        ("mx.example.org", ""),
        ("", ""),
    ],
)
def test_the_group_of_a_host(host, group):
    assert group_of(host) == group


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (554, "5.7.1 Service unavailable; Client host [192.0.2.7] blocked using zen.spamhaus.org", True),
        (451, "4.7.1 listed on bl.spamcop.net", True),
        (550, "5.7.1 URL listed by dbl.spamhaus.org", False),
        (421, "4.7.0 [192.0.2.7] our system has detected an unusual rate of unsolicited mail", False),
        (421, "4.7.0 [TSS04] Messages from 192.0.2.7 temporarily deferred due to user complaints", False),
        (450, "4.7.25 Client host rejected: cannot find your hostname, [192.0.2.7]", True),
        (451, "4.7.1 Greylisted, please try again in 300 seconds (192.0.2.7)", False),
        (452, "4.3.1 Insufficient system storage", False),
        (550, "5.1.1 No such user here", False),
        (550, "5.7.1 refused for 192.0.2.70", False),
        (550, "5.7.1 refused for 192.0.2.7.", True),
        (250, "2.0.0 192.0.2.7 is welcome", False),
    ],
)
def test_a_refusal_of_the_address(code: int, text: str, expected: bool) -> None:
    assert refuses(code, text, "192.0.2.7") is expected


def test_an_ipv6_address_is_known_again() -> None:
    assert refuses(550, "rejected [2001:DB8::7]", "2001:db8::7")
    assert not refuses(550, "rejected [2001:db8::77]", "2001:db8::7")
