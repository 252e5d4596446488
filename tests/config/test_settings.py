"""The settings table: files, environment, errors with suggestions, and that the rows fit the rooms."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from hslpy.cli import main
from hslpy.config import read_settings
from hslpy.config.load import as_toml
from hslpy.config.settings import ROWS
from hslpy.errors import OperatorError


def settings_of(tmp_path: Path, text: str, environment: dict[str, str] | None = None):
    file = tmp_path / "hslpy.toml"
    file.write_text(text)
    return read_settings(file, environment or {})


def errors_of(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(OperatorError) as caught:
        settings_of(tmp_path, text, environment)
    return caught.value.message


def test_without_a_file_the_server_is_on_loopback_with_the_packaged_scripts(tmp_path):
    settings = read_settings(None, {"XDG_STATE_HOME": str(tmp_path)})
    assert [(x.host, x.port) for x in settings.smtp.listeners] == [("127.0.0.1", 2525)]
    assert settings.packaged_hooks and settings.rate.store == "memory"
    assert settings.data_dir == tmp_path / "hslpy"


def test_paths_are_taken_from_the_file_s_folder(tmp_path):
    settings = settings_of(tmp_path, '[server]\ndata_dir = "data"\n[hooks]\nrcptto = ["a.hsl", "/b.hsl"]\n')
    assert settings.data_dir == tmp_path / "data"
    assert settings.hooks["rcptto"] == (tmp_path / "a.hsl", Path("/b.hsl"))
    assert not settings.packaged_hooks


def test_what_scripts_reach(tmp_path):
    settings = settings_of(
        tmp_path,
        """
        [client]
        ca_file = "/etc/ca.pem"
        [files]
        folders = ["data"]
        [sockets]
        timeout_s = 5
        [[pki]]
        id = "1"
        certificate = "a.pem"
        key = "a.key"
        [[ldap]]
        id = "corp"
        host = "ldaps://ldap.example.com"
        query = "(mail=%s)"
        """,
    )
    assert settings.file_folders == (tmp_path / "data",)
    assert (settings.sockets.timeout_s, settings.sockets.ca_file) == (5.0, "/etc/ca.pem")
    assert settings.sockets.key_pairs[0].key == tmp_path / "a.key"
    assert settings.ldap_profiles["corp"].query == "(mail=%s)"
    assert settings.ldap_profiles["corp"].tls_verify_peer


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[smtp]\nsize_limit_byte = 5\n", "unknown setting `smtp.size_limit_byte`; did you mean `size_limit_bytes`?"),
        ("[smpt]\n", "unknown table `smpt`; did you mean `smtp`?"),
        ('[smtp]\nsize_limit_bytes = "big"\n', "`smtp.size_limit_bytes` wants a whole number, got 'big'"),
        ("[smtp]\nsize_limit_bytes = 3\n", "`smtp.size_limit_bytes` wants at least 1024 bytes, got 3"),
        ('[rate]\nstore = "redish"\n', "wants one of memory, redis, got 'redish'; did you mean `redis`?"),
        ("[[source]]\nid = 'netaddr:1'\n", "`source[1].address` is missing"),
        ("[source]\nid = 'netaddr:1'\n", "write [[source]] for each entry"),
        ("listen = 25\n", "`listen` is a table"),
        ("[hooks]\nrcpt = 'x.hsl'\n", "unknown setting `hooks.rcpt`; did you mean `rcptto`?"),
        ("[scanners.spamasassin]\n", "unknown table `scanners.spamasassin`; did you mean `scanners.spamassassin`?"),
        ("[smtp\n", "Expected"),
        ("[delivery]\nsources = ['netaddr:9']\n", "delivery.sources names 'netaddr:9', which is no configured source"),
        ("[[ldap]]\nid = 'a'\nhost = 'x'\n[[ldap]]\nid = 'a'\nhost = 'y'\n", "two [[ldap]] tables have the same id"),
        ("[[transport]]\nid = 'a'\n[[transport]]\nid = 'a'\n", "two transports have the same id"),
        ("[delivery]\nreport_from = 'postmaster'\n", "`delivery.report_from` is no address: postmaster"),
        ("[queue]\ndelay_warning_after_s = [60, '4h']\n", "wants a number or a list of numbers, got [60, '4h']"),
        ("[queue]\ndelay_warning_after_s = [60, 0]\n", "wants at least 1 s, got [60, 0]"),
        ("[[listen]]\nport = 99999\n", "`listen[1].port` wants at most 65535, got 99999"),
        ("[[listen]]\nport = 25\n[[listen]]\nport = 25\n", "two [[listen]] tables have 127.0.0.1 port 25"),
        ("[smtp]\nauth_delay_s = nan\n", "`smtp.auth_delay_s` wants a number, got nan"),
        ("[smtp]\ntls_key = 'key.pem'\n", "smtp.tls_key is set without smtp.tls_certificate"),
        ("[smtp]\nauth_mechanisms = ['PLAINN']\n", "smtp.auth_mechanisms has PLAINN, which a script at auth"),
        ("[redis]\nurl = 'redis://a'\nsentinels = ['b:1']\n", "redis.url and redis.sentinels are both set"),
        ("[admin]\nlisten = '0.0.0.0:8025'\n", "admin.listen has 0.0.0.0:8025, which others can reach, and there is no"),
        ("[admin]\nlisten = 'page.example.com'\n", "admin.listen has 'page.example.com', which is no address and port"),
        ("[admin]\nlisten = ['[::1]:80', '[0::1]:80']\n", "admin.listen has an address twice"),
        ("[admin]\nkey = 'key.pem'\n", "admin.key is set without admin.certificate"),
        ("[egress]\ndatabase = 'mysql://root:secret@db/hslpy'\n", "is no URL of a database that is known here: 'mysql'"),
        ("[redis]\nca_file = 'none.pem'\n", "redis.ca_file: there is no file "),
        ("[queue.schedule]\nwait_s = 20000\n", "queue.schedule: wait_s must be above 0, and ceiling_s not below it"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_wanted(tmp_path, text, error):
    assert error in errors_of(tmp_path, text)


def test_all_errors_are_told_at_once(tmp_path):
    message = errors_of(tmp_path, "[smtp]\nport = 1\n[log]\nlevel = 'loud'\n")
    assert "2 errors" in message and "smtp.port" in message and "log.level" in message


def test_the_environment_goes_over_the_file(tmp_path):
    settings = settings_of(
        tmp_path,
        '[rate]\nstore = "memory"\n[hooks.limits]\ndepth = 50\n',
        {"HSLPY_RATE_STORE": "redis", "HSLPY_SMTP_RELAY_NETWORKS": "10.0.0.0/8, 127.0.0.1/32", "PATH": "/bin"},
    )
    assert settings.rate.store == "redis" and settings.limits.depth == 50
    assert settings.smtp.relay_networks == ("10.0.0.0/8", "127.0.0.1/32")


def test_the_database_of_delivery_ips_is_a_file_among_the_data(tmp_path, capsys):
    whole = '[server]\ndata_dir = "data"\n[egress]\ndatabase = '
    assert settings_of(tmp_path, '[server]\ndata_dir = "data"\n').egress.database == f"sqlite:///{tmp_path}/data/delivery.db"
    assert settings_of(tmp_path, whole + '"sqlite:///ips.db"').egress.database == f"sqlite:///{tmp_path}/ips.db"
    assert settings_of(tmp_path, whole + '"sqlite:////srv/ips.db"').egress.database == "sqlite:////srv/ips.db"
    assert settings_of(tmp_path, whole + '""').egress.database == ""
    settings_of(tmp_path, whole + '"postgresql://hslpy:secret@db/hslpy"')
    assert main(["config", "--config", str(tmp_path / "hslpy.toml")]) == 0
    assert "secret" not in capsys.readouterr().out


def test_the_page_is_on_loopback_and_elsewhere_with_a_certificate(tmp_path):
    admin = settings_of(tmp_path, "").admin
    assert [admin.url(one) for one in admin.addresses] == ["http://127.0.0.1:8025/"]
    text = "[admin]\nlisten = ['0.0.0.0:443', '[2001:db8::1]:8025', 'localhost:0']\ncertificate = 'a.pem'\n"
    admin = settings_of(tmp_path, text).admin
    urls = ["https://127.0.0.1:443/", "https://[2001:db8::1]:8025/", "https://127.0.0.1:0/"]
    assert [admin.url(one) for one in admin.addresses] == urls
    assert settings_of(tmp_path, "[admin]\nlisten = []\n").admin.addresses == ()


def test_ages_of_delay_reports(tmp_path):
    assert settings_of(tmp_path, "").queue.delay_warning_after_s == ()
    assert settings_of(tmp_path, "[queue]\ndelay_warning_after_s = 14400\n").queue.delay_warning_after_s == (14400.0,)
    several = settings_of(tmp_path, "", {"HSLPY_QUEUE_DELAY_WARNING_AFTER_S": "60, 3600"})
    assert several.queue.delay_warning_after_s == (60.0, 3600.0)


def test_a_network_that_is_none_is_an_error(tmp_path):
    assert "'10.0.0.0/33'" in errors_of(tmp_path, '[smtp]\nrelay_networks = ["127.0.0.0/8", "10.0.0.0/33"]\n')
    assert settings_of(tmp_path, '[smtp]\nrelay_networks = "10.1.2.3/8"\n').smtp.relay_networks == ("10.1.2.3/8",)


def test_errors_in_scripts_are_told_with_one_head(tmp_path, capsys):
    (tmp_path / "broken.hsl").write_text("Defre();")
    file = tmp_path / "hslpy.toml"
    file.write_text('[hooks]\nrcptto = "broken.hsl"\n[server]\ndata_dir = "data"\n')
    assert main(["serve", "--config", str(file)]) == 1
    assert capsys.readouterr().err.startswith("error[E204]: unknown function `Defre`")


def test_a_misspelt_variable_is_an_error(tmp_path):
    assert "did you mean `HSLPY_RATE_STORE`?" in errors_of(tmp_path, "", {"HSLPY_RATE_STOR": "redis"})


def test_scanners_are_on_where_their_table_is(tmp_path):
    assert settings_of(tmp_path, "").spamassassin is None
    settings = settings_of(tmp_path, "[scanners.spamassassin]\n[scanners.rspamd]\nurl = 'http://127.0.0.1:1'\n")
    assert settings.spamassassin is not None and settings.rspamd is not None and settings.rspamd.url.endswith(":1")


def test_rules_of_scandlp(tmp_path):
    text = "[scanners.dlp]\ntimeout_s = 3\n[[scanners.dlp.rules]]\nname = 'A'\nfilename = '/x/'\nregex = ['y', 'z']\n"
    dlp = settings_of(tmp_path, text + "[[scanners.dlp.rules]]\nname = 'B'\n[scanners.clamd]\n").dlp
    assert dlp.timeout_s == 3 and [rule.name for rule in dlp.rules] == ["A", "B"]
    assert (dlp.rules[0].filename, dlp.rules[0].regex) == (("/x/",), ("y", "z"))
    assert settings_of(tmp_path, "").dlp.rules == ()
    assert "did you mean `regex`?" in errors_of(tmp_path, "[[scanners.dlp.rules]]\nname = 'A'\nregexp = 'y'\n")


def test_what_config_prints_is_a_settings_file_that_says_the_defaults(tmp_path, capsys):
    assert main(["config"]) == 0
    text = capsys.readouterr().out
    tomllib.loads(text)
    file = tmp_path / "all.toml"
    file.write_text(text)
    assert main(["config", "--config", str(file)]) == 0


def test_secrets_are_not_printed(tmp_path):
    settings = settings_of(tmp_path, "[redis]\nurl = 'redis://:hunter2@127.0.0.1/0'\n")
    assert "hunter2" not in as_toml(ROWS, settings.values)


def test_every_row_says_what_it_is_for():
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(row.help and not row.help.endswith(".") for row in ROWS)


def test_a_misspelt_command_is_suggested(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["serv"])
    assert caught.value.code == 2 and "did you mean `serve`?" in capsys.readouterr().err


def test_timeouts_hold_for_every_transport(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('[delivery.timeouts]\nconnect_s = 7\n[[transport]]\nid = "t"\n')
    transports = read_settings(file, {}).delivery.transports
    assert {name: t.timeouts.connect_s for name, t in transports.items()} == {"t": 7.0, "mailtransport:1": 7.0}


def test_profiles_of_scripts(tmp_path):
    (tmp_path / "old").mkdir()
    settings = settings_of(tmp_path, '[hooks]\nprofile = "5.1"\n[hooks.profiles]\n"old" = "2015"\n')
    assert settings.profiles.of(tmp_path / "new.hsl").name == "2018"
    assert settings.profiles.of(tmp_path / "old" / "lib" / "x.hsl").name == "2015"
    assert settings_of(tmp_path, "", {"HSLPY_HOOKS_PROFILE": "4.4"}).profiles.default.name == "2017"
    assert "there is no profile 'fast'" in errors_of(tmp_path, '[hooks]\nprofile = "fast"\n')
    assert "no file or folder" in errors_of(tmp_path, '[hooks.profiles]\n"elsewhere" = "2015"\n')
