"""Reading the settings, once. In: a TOML file and the environment. Out: `Settings`, the rooms' dataclasses filled.

No other room reads a settings file or the environment. Raises OperatorError with every error found.
"""

from __future__ import annotations

import os
import re
import socket
import tomllib
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from hslpy.admin.settings import AdminSettings
from hslpy.client.bounce_lists import BounceListSettings
from hslpy.client.certificates import CertificateFiles
from hslpy.client.contract import ClientSettings, Timeouts
from hslpy.client.http_contract import HttpSettings
from hslpy.client.ldap import LdapProfile
from hslpy.client.logfiles import LogFileSettings
from hslpy.client.sockets import KeyPair, SocketSettings
from hslpy.config.settings import OPTIONAL_TABLES, ROWS
from hslpy.config.table import Setting, check, from_environment, merge
from hslpy.delivery.settings import DeliverySettings, Transport
from hslpy.dns.resolver import ResolverSettings
from hslpy.egress.rules.sources import Source
from hslpy.egress.store.place import EgressSettings
from hslpy.errors import OperatorError
from hslpy.hooks.moments import MOMENTS
from hslpy.lang.profiles import ProfileChoice, profile_of
from hslpy.lang.run import Limits
from hslpy.queue.queue import QueueSettings
from hslpy.queue.schedule import RetrySchedule
from hslpy.rate.contract import RateSettings
from hslpy.records import dataclass
from hslpy.scan.clamd import ClamdSettings
from hslpy.scan.dlp import DlpRule, DlpSettings
from hslpy.scan.rspamd import RspamdSettings
from hslpy.scan.spamc import SpamdSettings
from hslpy.smtp.settings import Listener, SmtpSettings
from hslpy.spool.sqlite import SpoolSettings
from hslpy.store.settings import MemorySettings, RedisProfile, RedisSettings


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, each room's in its own dataclass. `file` is None without a settings file.

    `hooks` maps each hook to its script files; `values` has every setting by its dotted name and `given` what file and
    environment have, both for `hslpy config`.
    """

    file: Path | None
    values: Mapping[str, Any]
    given: Mapping[str, Any]
    hostname: str
    data_dir: Path
    workers: int
    uvloop: bool
    smtp: SmtpSettings
    hooks: Mapping[str, tuple[Path, ...]]
    packaged_hooks: bool
    search_path: tuple[Path, ...]
    reload_check_s: float
    file_folders: tuple[Path, ...]
    profiles: ProfileChoice
    limits: Limits
    spool: SpoolSettings
    queue: QueueSettings
    delivery: DeliverySettings
    sources: tuple[Source, ...]
    egress: EgressSettings
    admin: AdminSettings
    client: ClientSettings
    sockets: SocketSettings
    ldap_profiles: Mapping[str, LdapProfile]
    log_files: tuple[LogFileSettings, ...]
    bounce_lists: tuple[BounceListSettings, ...]
    redis_profiles: Mapping[str, RedisProfile]
    script_environment: Mapping[str, str | None]
    resolver: ResolverSettings
    rate: RateSettings
    redis: RedisSettings
    memory: MemorySettings
    http: HttpSettings
    spamassassin: SpamdSettings | None
    rspamd: RspamdSettings | None
    clamd: ClamdSettings | None
    dlp: DlpSettings
    scanner_failure: str
    log_level: str
    log_format: str

    @property
    def control_path(self) -> Path:
        return self.data_dir / "control.sock"

    @property
    def admin_path(self) -> Path:
        return self.data_dir / "admin.sock"

    @property
    def cache_dir(self) -> Path:
        return self.data_dir / "compiled"


def read_settings(file: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Give the settings of `file` (else of HSLPY_CONFIG, else the defaults) under those of the environment.

    Without a file the packaged scripts are on. Raises OperatorError naming the file and every error in it.
    """
    environment = os.environ if environment is None else environment
    if file is None and environment.get("HSLPY_CONFIG"):
        file = Path(environment["HSLPY_CONFIG"])
    given: dict[str, Any] = {}
    if file is not None:
        try:
            given = tomllib.loads(file.read_text("utf-8"))
        except OSError as error:
            raise OperatorError(f"can't read settings {file}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise OperatorError(f"settings {file}: {error}", hint="the file must be TOML") from error
    folder = file.absolute().parent if file is not None else Path.cwd()
    extra, errors = from_environment(ROWS, environment)
    values, more = check(ROWS, merge(given, extra), folder)
    errors += more
    if errors:
        place = f"settings {file}" if file is not None else "settings"
        raise OperatorError("\n  ".join([f"{place} have {len(errors)} error{'s' if len(errors) > 1 else ''}:", *errors]))
    if file is None:
        values["hooks.packaged"] = True
    return _settings(file, values, merge(given, extra), folder, environment)


def _settings(
    file: Path | None, values: dict[str, Any], given: Mapping[str, Any], folder: Path, environment: Mapping[str, str]
) -> Settings:
    hostname = values["server.hostname"] or _own_name()
    data_dir = values["server.data_dir"]
    if data_dir is None:
        data_dir = state_folder(environment, folder)
    values["server.hostname"], values["server.data_dir"] = hostname, data_dir
    listeners = tuple(Listener(**entry) for entry in values["listen[]"]) or (Listener(),)
    timeouts = Timeouts(**_section(values, "delivery.timeouts"))
    transports = {entry["id"]: Transport(**entry, timeouts=timeouts) for entry in values["transport[]"]}
    if len(transports) < len(values["transport[]"]):
        raise OperatorError("two transports have the same id", hint="give each [[transport]] an `id` of its own")
    for table in ("pki", "ldap", "log_file", "bounce_list", "redis_profile"):
        ids = [entry["id"] for entry in values[f"{table}[]"]]
        if len(set(ids)) < len(ids):
            raise OperatorError(f"two [[{table}]] tables have the same id", hint="give each an `id` of its own")
    _check_together(values, given)
    certificates = tuple(CertificateFiles(**entry) for entry in values["smtp.certificates[]"])
    smtp = SmtpSettings(**_section(values, "smtp"), listeners=listeners, hostname=hostname, certificates=certificates)
    _check_networks("relay_networks", smtp.relay_networks)
    _check_networks("auth_exempt_networks", smtp.auth_exempt_networks)
    transports.setdefault(smtp.transport_id, Transport(smtp.transport_id, timeouts=timeouts))
    sources = tuple(Source(**entry) for entry in values["source[]"])
    _check_source_names(sources, transports, values["delivery.sources"])
    reports = values["delivery.report_transport_id"]
    if reports and reports not in transports:
        raise OperatorError(
            f"delivery.report_transport_id names {reports!r}, which is no configured transport",
            hint=f"the transports are {', '.join(sorted(transports))}",
        )
    if values["workers"] > 1 and "store" not in given.get("memory", {}):
        values["memory.store"] = "redis"
    if values["workers"] > 1 and values["rate.store"] != "redis":
        raise OperatorError(
            f'workers = {values["workers"]} wants rate.store = "redis": counters in memory are one process\'s own',
            hint='set [rate] store = "redis" and [redis] url, or workers = 1',
        )
    if values["workers"] > values["delivery.attempts"]:
        raise OperatorError(
            f"delivery.attempts = {values['delivery.attempts']} is less than workers = {values['workers']}",
            hint="each worker has its part of them",
        )
    egress = EgressSettings(**_section(values, "egress")).placed(data_dir, folder)
    values["egress.database"] = egress.database
    scanners = given.get("scanners", {})
    redis = RedisSettings(**_section(values, "redis"))
    return Settings(
        file=file,
        values=values,
        given=given,
        hostname=hostname,
        data_dir=data_dir,
        workers=values["workers"],
        uvloop=values["server.uvloop"],
        smtp=smtp,
        hooks={hook: tuple(folder / path for path in values[f"hooks.{hook}"]) for hook in MOMENTS},
        packaged_hooks=values["hooks.packaged"],
        search_path=tuple(folder / path for path in values["hooks.search_path"]),
        reload_check_s=values["hooks.reload_check_s"],
        file_folders=tuple(folder / path for path in values["files.folders"]),
        profiles=_profiles(values["hooks.profile"], values["hooks.profiles"], folder),
        limits=Limits(**_section(values, "hooks.limits")),
        spool=SpoolSettings(folder=data_dir / "spool", **_section(values, "spool")),
        queue=QueueSettings(schedule=RetrySchedule(**_section(values, "queue.schedule")), **_section(values, "queue")),
        delivery=DeliverySettings(helo=hostname, transports=transports, **_section(values, "delivery")),
        sources=sources,
        egress=egress,
        admin=AdminSettings(**_section(values, "admin")),
        client=ClientSettings(**_section(values, "client")),
        sockets=SocketSettings(
            **_section(values, "sockets"),
            ca_file=values["client.ca_file"] or "",
            key_pairs=tuple(KeyPair(**entry) for entry in values["pki[]"]),
        ),
        ldap_profiles={entry["id"]: LdapProfile(**entry) for entry in values["ldap[]"]},
        log_files=tuple(LogFileSettings(**entry) for entry in values["log_file[]"]),
        bounce_lists=tuple(BounceListSettings(**entry) for entry in values["bounce_list[]"]),
        redis_profiles=_redis_profiles(values, redis),
        script_environment={name: environment.get(name) for name in values["hooks.environment"]},
        resolver=ResolverSettings(**_section(values, "dns")),
        rate=RateSettings(**_section(values, "rate")),
        redis=redis,
        memory=MemorySettings(**_section(values, "memory")),
        http=HttpSettings(**_section(values, "http")),
        spamassassin=SpamdSettings(**_section(values, "scanners.spamassassin")) if "spamassassin" in scanners else None,
        rspamd=RspamdSettings(**_section(values, "scanners.rspamd")) if "rspamd" in scanners else None,
        clamd=ClamdSettings(**_section(values, "scanners.clamd")) if "clamd" in scanners else None,
        dlp=DlpSettings(
            rules=tuple(DlpRule(**rule) for rule in values["scanners.dlp.rules[]"]), **_section(values, "scanners.dlp")
        ),
        scanner_failure=values["scanners.on_failure"],
        log_level=values["log.level"],
        log_format=values["log.format"],
    )


def _redis_profiles(values: Mapping[str, Any], redis: RedisSettings) -> dict[str, RedisProfile]:
    """Give the servers of `Redis()` by id; the one of [redis] has none, and is there where that is a single server."""
    profiles = {entry["id"]: RedisProfile(**entry) for entry in values["redis_profile[]"]}
    if not redis.sentinels and not redis.cluster:
        profiles[""] = RedisProfile("", redis.url, max_connections=redis.max_connections, login=redis)
    return profiles


def _profiles(default: str, by_path: Mapping[str, str], folder: Path) -> ProfileChoice:
    """Give the profiles of scripts. Raises OperatorError for one that does not exist, or a path that is not there."""
    found = {}
    for name, profile in by_path.items():
        path = Path(os.path.normpath((folder / Path(name).expanduser()).absolute()))
        if not path.exists():
            raise OperatorError(f"hooks.profiles names {name!r}, which is no file or folder", hint=f"looked for {path}")
        found[path] = profile_of(profile)
    return ProfileChoice(profile_of(default), found)


def state_folder(environment: Mapping[str, str] | None = None, home: Path | None = None) -> Path:
    """Give the user's folder for what we keep: $XDG_STATE_HOME/hslpy. `home` is taken where the environment has none."""
    environment = os.environ if environment is None else environment
    own_home = environment.get("HOME") or str(home or Path.home())
    return Path(environment.get("XDG_STATE_HOME") or os.path.join(own_home, ".local/state")) / "hslpy"


def _section(values: Mapping[str, Any], section: str) -> dict[str, Any]:
    prefix = f"{section}."
    return {
        name.removeprefix(prefix): value
        for name, value in values.items()
        if name.startswith(prefix) and "." not in name.removeprefix(prefix) and not name.endswith("[]")
    }


def _check_networks(setting: str, networks: Sequence[str]) -> None:
    for text in networks:
        try:
            ip_network(text, strict=False)
        except ValueError as error:
            raise OperatorError(f"smtp.{setting}: {error}", hint="write networks as in 192.0.2.0/24") from None


def _check_together(values: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raises OperatorError for settings of which one leaves another without effect."""
    places = [(entry["host"], entry["port"]) for entry in values["listen[]"] if entry["port"]]
    for host, port in places:
        if places.count((host, port)) > 1:
            raise OperatorError(f"two [[listen]] tables have {host} port {port}", hint="leave one of them out")
    if values["smtp.tls_key"] and not values["smtp.tls_certificate"]:
        raise OperatorError("smtp.tls_key is set without smtp.tls_certificate", hint="name the certificate's file too")
    own = [name for name in values["smtp.auth_mechanisms"] if name.upper() not in ("PLAIN", "LOGIN")]
    if own and not values["hooks.auth"]:
        raise OperatorError(
            f"smtp.auth_mechanisms has {', '.join(own)}, which a script at auth would carry out, and there is none",
            hint="set hooks.auth, or offer PLAIN and LOGIN alone",
        )
    for name in ("ca_file", "tls_certificate", "tls_key"):
        file = values[f"redis.{name}"]
        if file is not None and not file.is_file():
            raise OperatorError(f"redis.{name}: there is no file {file}")
    for other in ("sentinels", "cluster"):
        if values[f"redis.{other}"] and "url" in given.get("redis", {}):
            raise OperatorError(f"redis.url and redis.{other} are both set", hint="leave out the one that is not meant")


def _check_source_names(sources: tuple[Source, ...], transports: Mapping[str, Transport], defaults: tuple[str, ...]) -> None:
    known = {source.id for source in sources}
    places = [("delivery.sources", defaults), *((f"transport {t.id}: sources", t.sources) for t in transports.values())]
    for place, ids in places:
        for source_id in ids:
            if source_id not in known:
                raise OperatorError(
                    f"{place} names {source_id!r}, which is no configured source",
                    hint=f"the sources are {', '.join(sorted(known))}" if known else "add a [[source]] table for it",
                )


def _own_name() -> str:
    name = socket.getfqdn()
    return name if "." in name and not name.startswith("localhost") else socket.gethostname() or "localhost"


def as_toml(rows: list[Setting], values: Mapping[str, Any] | None, given: Mapping[str, Any] | None = None) -> str:
    """Give every setting as a TOML file with its help: the defaults, or `values` where given. Secrets are starred.

    Repeated tables are shown once, as comments; so are the optional ones, but for those that `given` has.
    """
    out: list[str] = []
    section = None
    quiet = ""
    for row in rows:
        repeated = row.section.endswith("[]")
        if row.section != section:
            section = row.section
            name = section.removesuffix("[]")
            parent, _, key = name.rpartition(".")
            optional = section in OPTIONAL_TABLES and key not in (given or {}).get(parent, {})
            quiet = "# " if repeated or optional else ""
            if name:  # settings above all tables come first, as TOML wants it
                out.append(f"\n{quiet}[[{name}]]" if repeated else f"\n{quiet}[{name}]")
        unit = f" ({row.unit})" if row.unit else ""
        choices = f" One of: {', '.join(row.choices)}." if row.choices else ""
        out.append(f"# {row.help[0].upper()}{row.help[1:]}{unit}.{choices}")
        text = _toml(row.default if values is None or repeated else values[row.name], row)
        out.append(f"{quiet or ('# ' if text == '' else '')}{row.key} = {text}")
    return "\n".join(out).lstrip("\n") + "\n"


def _masked(value: str) -> str:
    """Give a secret as it may be seen: of a URL all but its password."""
    place = re.sub(r"^([^:/]+://[^:/@?]*):.*@", r"\1:***@", value)
    return place if "://" in value and "password" not in place.partition("?")[2] else "***"


def _toml(value: Any, row: Setting) -> str:
    if value is None:
        return ""
    if row.secret and value:
        return f'"{_masked(str(value))}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f'"{k}" = {_toml(v, row)}' for k, v in value.items()) + "}"
    if not isinstance(value, str | Path):
        return ""
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
