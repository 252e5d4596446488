"""Certificates: read anew while the server runs, chosen by the name asked for, and told of before they end."""

from __future__ import annotations

import datetime as dt
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from hslpy.client.certificates import DAY_S, CertificateFiles, Certificates, alarm, chosen, read_certificate
from hslpy.clock import ManualClock
from hslpy.errors import OperatorError
from tests.smtp.harness import Client, World, run, serving
from tests.smtp.pairs import pair

ANY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ANY.check_hostname = False
ANY.verify_mode = ssl.CERT_NONE


def names_shown(client: Client) -> list[str]:
    shown = client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    others = x509.load_der_x509_certificate(shown).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return others.value.get_values_for_type(x509.DNSName)


async def shown(world: World, tls: str, name: str | None = "localhost", context: ssl.SSLContext = ANY) -> list[str]:
    """Give the names in the certificate that a new connection gets."""
    if tls == "implicit":
        client = await world.connect(ssl=context, server_hostname=name or "")
        await client.hello()
    else:
        client = await world.greeted()
        await client.ask(b"STARTTLS")
        await client.writer.start_tls(context, server_hostname=name)
    assert (await client.ask(b"EHLO again.test"))[:4] == b"250-"
    return names_shown(client)


def as_files(made: tuple[Path, Path]) -> CertificateFiles:
    return CertificateFiles(*made)


@pytest.mark.parametrize("uvloop", [False, True])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_renewed_certificate_is_shown_to_new_connections(tmp_path: Path, tls: str, uvloop: bool) -> None:
    async def work() -> None:
        made = pair(tmp_path, ["old.test"])
        async with serving(tls=tls, tls_certificate=made[0], tls_key=made[1]) as world:
            certificates = world.server.certificates
            assert await shown(world, tls) == ["old.test"]
            before = world.clients[-1]
            assert await certificates.refresh() and not world.log
            pair(tmp_path, ["new.test"])
            assert await certificates.refresh()
            assert await shown(world, tls) == ["new.test"]
            assert [event for event, _ in world.log] == ["smtp.certificate_loaded"]
            assert (await before.ask(b"NOOP"))[:3] == b"250"
            assert names_shown(before) == ["old.test"]

    run(work, uvloop)


def test_a_pair_that_cannot_be_used_leaves_the_old_one(tmp_path: Path) -> None:
    async def work() -> None:
        made = pair(tmp_path, ["old.test"])
        async with serving(tls_certificate=made[0], tls_key=made[1]) as world:
            certificates = world.server.certificates
            key = made[1].read_bytes()
            pair(tmp_path, ["new.test"])
            fresh = made[1].read_bytes()
            made[1].write_bytes(key)
            assert await certificates.refresh() and not world.log, "the key may still be to come"
            assert not await certificates.refresh()
            ((event, fields),) = world.log
            assert event == "smtp.certificate_kept" and fields["level"] == "error"
            assert fields["why"] == f"the key {made[1]} is not that of the certificate {made[0]}"
            assert await certificates.refresh() and len(world.log) == 1, "told once"
            assert await shown(world, "starttls") == ["old.test"]
            assert not await certificates.refresh(everything=True)
            assert len(world.log) == 2, "an operator's order is answered at once"
            made[1].unlink()
            await certificates.refresh()
            await certificates.refresh()
            assert "cannot read" in world.log[-1][1]["why"]
            made[1].write_bytes(fresh)
            assert await certificates.refresh()
            assert await shown(world, "starttls") == ["new.test"]

    run(work)


@pytest.mark.parametrize("uvloop", [False, True])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_the_name_asked_for_chooses(tmp_path: Path, tls: str, uvloop: bool) -> None:
    async def work() -> None:
        first = pair(tmp_path, ["mx.test"], stem="a")
        second = pair(tmp_path, ["other.test", "*.wild.test"], stem="b")
        both = tmp_path / "both.pem"
        both.write_bytes(b"".join(file.read_bytes() for file in pair(tmp_path, ["third.test"], stem="c")))
        more = (as_files(second), CertificateFiles(both))
        async with serving(tls=tls, tls_certificate=first[0], tls_key=first[1], certificates=more) as world:
            for asked, wanted in {
                "mx.test": "mx.test",
                "unknown.test": "mx.test",
                "OTHER.test": "other.test",
                "a.wild.test": "other.test",
                "a.b.wild.test": "mx.test",
                "third.test": "third.test",
            }.items():
                assert (await shown(world, tls, asked))[0] == wanted, asked
            if tls == "starttls":
                assert (await shown(world, tls, None))[0] == "mx.test"
            pair(tmp_path, ["other.test", "newer.test"], stem="b")
            assert await world.server.certificates.refresh()
            assert (await shown(world, tls, "newer.test"))[0] == "other.test"
            assert (await shown(world, tls, "third.test"))[0] == "third.test"

    run(work, uvloop)


def test_a_further_certificate_alone_is_the_first(tmp_path: Path) -> None:
    async def work() -> None:
        async with serving(certificates=(as_files(pair(tmp_path, ["only.test"])),)) as world:
            assert await shown(world, "starttls", "else.test") == ["only.test"]

    run(work)


def test_versions_below_the_minimum_are_refused(tmp_path: Path) -> None:
    def speaking(version: ssl.TLSVersion) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        return context

    async def work() -> None:
        made = pair(tmp_path)
        for minimum, good, bad in (
            ("TLSv1.3", ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2),
            ("TLSv1.2", ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_1),
            ("TLSv1", ssl.TLSVersion.TLSv1, None),
        ):
            wanted: Any = {"tls_minimum_version": minimum, "tls_certificate": made[0], "tls_key": made[1]}
            async with serving(**wanted) as world:
                assert await shown(world, "starttls", context=speaking(good)) == ["localhost"]
                if bad is not None:
                    with pytest.raises(OSError):
                        await shown(world, "starttls", context=speaking(bad))

    run(work)


def test_what_is_wrong_with_a_pair_is_said(tmp_path: Path) -> None:
    def fault(certificate: Path, key: Path | None) -> str:
        with pytest.raises(OperatorError) as raised:
            read_certificate(CertificateFiles(certificate, key), "TLSv1.2")
        return raised.value.message

    one, other = pair(tmp_path, stem="one"), pair(tmp_path, stem="other")
    hidden = pair(tmp_path, stem="hidden", passphrase=b"secret")
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing\n")
    gone = tmp_path / "gone.pem"
    assert fault(one[0], other[1]) == f"the key {other[1]} is not that of the certificate {one[0]}"
    assert fault(*hidden) == f"the key {hidden[1]} has a passphrase"
    assert fault(nothing, one[1]) == f"{nothing} holds no certificate in PEM"
    assert fault(one[1], one[0]) == f"{one[1]} holds no certificate in PEM"
    assert fault(one[0], nothing) == f"{nothing} holds no private key in PEM"
    assert fault(one[0], None) == f"{one[0]} holds no private key in PEM"
    assert fault(gone, one[1]) == f"cannot read {gone}: No such file or directory"
    assert fault(one[0], gone) == f"cannot read {gone}: No such file or directory"


@pytest.mark.parametrize(
    ("lifetime", "left", "level"),
    [(90, 31, None), (90, 29, "warning"), (90, 6.9, "error"), (90, -1, "error"), (6, 3, None), (6, 1.9, "warning")],
)
def test_when_the_end_is_told(tmp_path: Path, lifetime: float, left: float, level: str | None) -> None:
    certificate = read_certificate(as_files(pair(tmp_path, days=lifetime)), "TLSv1.2")
    assert alarm(certificate, certificate.expires_at - left * DAY_S) == level


def test_the_end_is_told_once_a_day(tmp_path: Path) -> None:
    clock = ManualClock()
    now = dt.datetime.fromtimestamp(clock.time(), dt.UTC)
    made = pair(tmp_path, ["a.test", "b.test"], days=90, age_days=58.5, now=now)
    log: list[tuple[str, Any]] = []
    certificates = Certificates(
        "smtp", [as_files(made)], "TLSv1.2", clock, lambda event, fields: log.append((event, dict(fields)))
    )
    for _ in range(3 * 24):
        certificates.tell_of_expiry()
        clock.advance(3600)
    assert [(event, fields["level"], fields["days_left"]) for event, fields in log] == [
        ("smtp.certificate_expires", "warning", 29.5)
    ], "the first look was at 31.5 days, the next a day later at 30.5"
    assert log[0][1]["names"] == "a.test,b.test"
    clock.advance(40 * DAY_S)
    certificates.tell_of_expiry()
    assert log[-1][0] == "smtp.certificate_expired" and log[-1][1]["level"] == "error"


def test_one_that_has_ended_does_not_take_the_place_of_one_that_has_not(tmp_path: Path) -> None:
    clock = ManualClock()
    now = dt.datetime.fromtimestamp(clock.time(), dt.UTC)
    log: list[tuple[str, Any]] = []
    good, ended, later = ((90, 10), (90, 91), (90, -1))
    made = pair(tmp_path, ["a.test"], days=good[0], age_days=good[1], now=now)
    certificates = Certificates(
        "smtp", [as_files(made)], "TLSv1.2", clock, lambda event, fields: log.append((event, dict(fields)))
    )

    async def put(days: float, age_days: float) -> tuple[str, str]:
        pair(tmp_path, ["b.test"], days=days, age_days=age_days, now=now)
        await certificates.refresh()
        await certificates.refresh()
        event, fields = log[-1]
        return event, str(fields.get("why"))

    async def work() -> None:
        for age, text in ((ended, "ended on"), (later, "is not good before")):
            event, why = await put(*age)
            assert event == "smtp.certificate_kept" and text in why and "the one in use is good until" in why
        assert certificates.names == {"a.test"}
        clock.advance(81 * DAY_S)
        assert (await put(90, 91))[0] == "smtp.certificate_loaded", "one that has ended for another"

    run(work)


def test_names_are_chosen_in_order(tmp_path: Path) -> None:
    first = read_certificate(as_files(pair(tmp_path, ["*.x.test"], stem="1")), "TLSv1.2")
    second = read_certificate(as_files(pair(tmp_path, ["a.x.test"], stem="2")), "TLSv1.2")
    nameless = read_certificate(as_files(pair(tmp_path, [], stem="3")), "TLSv1.2")
    every = (first, second, nameless)
    assert chosen(every, "a.x.test.") is second, "the whole name goes before a wildcard"
    assert chosen(every, "b.x.test") is first
    assert chosen(every, "nobody") is nameless
    assert chosen(every, None) is chosen(every, "") is chosen(every, "x.test") is first


def test_links_that_are_moved_on_are_seen(tmp_path: Path) -> None:
    """As certbot does it: the paths of the settings are symbolic links."""

    async def work() -> None:
        (tmp_path / "1").mkdir()
        (tmp_path / "2").mkdir()
        links = tmp_path / "cert.pem", tmp_path / "key.pem"
        for link, file in zip(links, pair(tmp_path / "1", ["one.test"]), strict=True):
            link.symlink_to(file)
        async with serving(tls_certificate=links[0], tls_key=links[1]) as world:
            for link, file in zip(links, pair(tmp_path / "2", ["two.test"]), strict=True):
                (tmp_path / "new").symlink_to(file)
                os.replace(tmp_path / "new", link)
                await world.server.certificates.refresh()
            assert await shown(world, "starttls") == ["two.test"]
            assert [event for event, _ in world.log] == ["smtp.certificate_loaded"]

    run(work)
