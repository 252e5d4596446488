"""Private spamd, rspamd and clamd on loopback, with rules of their own and no network. In: nothing. Out: an address each.

All keep everything in a temporary folder; none needs, nor touches, the system's own daemon.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


def message(body: bytes = b"The figures for May are in the table below.", subject: bytes = b"Figures") -> bytes:
    """Give a whole message with CRLF line ends."""
    return (
        b"From: Ann <ann@example.org>\r\nTo: Bob <bob@example.net>\r\nSubject: " + subject + b"\r\n"
        b"Date: Wed, 23 Jul 2025 23:30:00 +0200\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=us-ascii\r\n\r\n" + body + b"\r\n"
    )


class _Daemon:
    """A process in a folder of its own, ready when it accepts connections."""

    name = ""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"hslpy-{self.name}-"))
        self.folder.chmod(0o755)  # a daemon started by root goes on as somebody else
        self._process: subprocess.Popen[bytes] | None = None

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, command: list[str], family: int, address: object) -> None:
        log = self.folder / "log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        for _ in range(3000):
            with socket.socket(family) as probe:
                try:
                    probe.connect(address)
                    return
                except OSError:
                    time.sleep(0.02)
            if self._process.poll() is not None:
                break
        raise RuntimeError(f"{self.name} did not start: " + log.read_text(errors="replace"))


# An address of this process's own: between asking for a free port and using it, another's tests may take it elsewhere.
HOST = f"127.{64 + os.getpid() % 128}.{os.getpid() // 128 % 256}.1"


def free_port() -> int:
    """Give a port of HOST that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Spamd(_Daemon):
    """spamd with the installed rules, local ones only, on a TCP port or a Unix socket."""

    name = "spamd"

    def __init__(self, unix: bool = False) -> None:
        super().__init__()
        self._unix = unix
        self.address = str(self.folder / "s") if unix else f"{HOST}:{free_port()}"

    def __enter__(self) -> Spamd:
        site = self.folder / "site"
        site.mkdir()
        for plugins in Path("/etc/spamassassin").glob("*.pre"):
            shutil.copy(plugins, site)
        (site / "local.cf").write_text("use_bayes 0\ndns_available no\n")
        command = ["spamd", "--local", "--nouser-config", f"--siteconfigpath={site}", f"--helper-home-dir={self.folder}"]
        command += ["--max-children=1", f"--pidfile={self.folder / 'pid'}", "--syslog=stderr"]
        if os.getuid() == 0:
            command.append("--username=nobody")
        if self._unix:
            self._start([*command, f"--socketpath={self.address}", "--socketmode=0666"], socket.AF_UNIX, self.address)
        else:
            host, _, port = self.address.rpartition(":")
            self._start([*command, f"--listen={self.address}"], socket.AF_INET, (host, int(port)))
        return self


class Rspamd(_Daemon):
    """rspamd with one rule of its own: HSLPY_OFFER, 7 points for a subject with `offer` in it; GTUBE is built in."""

    name = "rspamd"

    def __init__(self) -> None:
        super().__init__()
        self._port = free_port()
        self.url = f"http://{HOST}:{self._port}"

    def __enter__(self) -> Rspamd:
        (self.folder / "domains").write_text("com\nnet\norg\n")  # the whole public suffix list takes 8 s to compile
        (self.folder / "rules.lua").write_text(
            "rspamd_config:register_symbol({name = 'HSLPY_OFFER', score = 7.0, type = 'normal', callback = function(task)\n"
            "  return (task:get_subject() or ''):find('offer') ~= nil\nend})\n"
            "rspamd_config:register_symbol({name = 'HSLPY_ENVELOPE', score = 0.5, type = 'normal',\n"
            "callback = function(task)\n"
            "  local from, to = task:get_from('smtp'), task:get_recipients('smtp')\n"
            "  return from and from[1].addr == 'ann@example.org' and to and #to == 2 and to[2].addr == 'carl@example.net'\n"
            "    and tostring(task:get_ip()) == '192.0.2.7' and task:get_helo() == 'mx.example.org'\n"
            "    and task:get_user() == 'ann' and task:get_queue_id() == 'id-1'\nend})\n"
        )
        (self.folder / "rspamd.conf").write_text(
            "options {\n"
            f'  pidfile = "{self.folder}/pid"; cache_file = "{self.folder}/cache"; hs_cache_dir = "{self.folder}";\n'
            f'  tempdir = "{self.folder}"; filters = ""; url_tld = "{self.folder}/domains";\n'
            '  dns { nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; }\n'
            "}\n"
            f'logging {{ type = "console"; level = "warning"; }}\nlua = "{self.folder}/rules.lua";\n'
            "actions { reject = 15; add_header = 6; greylist = 4; }\n"
            f'worker "normal" {{ bind_socket = "{HOST}:{self._port}"; count = 1; mime = true; }}\n'
        )
        self._start(
            ["rspamd", "--no-fork", "--insecure", f"--config={self.folder / 'rspamd.conf'}"],
            socket.AF_INET,
            (HOST, self._port),
        )
        return self


class Clamd(_Daemon):
    """clamd with two signatures of its own: what holds OFFER_TEXT, and a file whose bytes are HASHED."""

    name = "clamd"
    OFFER_TEXT = b"HSLPY-TEST-SIGNATURE"
    HASHED = b"a file known by its digest, and by nothing else"

    def __init__(self, unix: bool = False, lines: str = "") -> None:
        super().__init__()
        self._unix = unix
        self._lines = lines
        self.address = str(self.folder / "s") if unix else f"{HOST}:{free_port()}"

    def __enter__(self) -> Clamd:
        signatures = self.folder / "signatures"
        signatures.mkdir()
        (signatures / "ours.ndb").write_text(f"Hslpy.Test.Text:0:*:{self.OFFER_TEXT.hex()}\n")
        digest = hashlib.md5(self.HASHED).hexdigest()
        (signatures / "ours.hdb").write_text(f"{digest}:{len(self.HASHED)}:Hslpy.Test.Digest\n")
        lines = [f"DatabaseDirectory {signatures}", f"TemporaryDirectory {self.folder}", "Foreground yes", self._lines]
        config = self.folder / "clamd.conf"
        command = ["clamd", f"--config-file={config}"]
        if self._unix:
            config.write_text("\n".join([*lines, f"LocalSocket {self.address}", ""]))
            self._start(command, socket.AF_UNIX, self.address)
        else:
            host, _, port = self.address.rpartition(":")
            config.write_text("\n".join([*lines, f"TCPAddr {host}", f"TCPSocket {port}", ""]))
            self._start(command, socket.AF_INET, (host, int(port)))
        return self
