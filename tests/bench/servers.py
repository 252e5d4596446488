"""What the benchmarks share: a private Postfix, ports, the CPU time of a tree of processes. Needs root for Postfix."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PATH = os.environ["PATH"] + ":/usr/sbin"
TICK = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes] | None = None, address: str = "127.0.0.1") -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if process is not None and process.poll() is not None:
            raise SystemExit(f"the server ended with status {process.returncode}")
        try:
            socket.create_connection((address, port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


@contextmanager
def postfix(folder: Path, hops: Mapping[str, str] | None = None) -> Iterator[tuple[int, int]]:
    """Give port and master's process id of a private Postfix that holds every message, until `release`.

    `hops` has the next hop of domains, as `[127.0.0.1]:25`.
    """
    port = free_port()
    etc = folder / "etc"
    for name in ("etc", "spool", "data"):
        (folder / name).mkdir()
    for parent in (folder, *folder.parents):
        if (
            parent != Path("/")
            and parent.stat().st_uid == os.getuid()
            and str(parent).startswith(tempfile.gettempdir() + "/")
        ):
            parent.chmod(0o755)
    shutil.chown(folder / "data", "postfix")
    master = []
    for line in Path("/usr/share/postfix/master.cf.dist").read_text().splitlines():
        fields = line.split()
        if line.startswith("smtp ") and fields[1] == "inet":
            master.append(f"127.0.0.1:{port} inet n - n - - smtpd")
        elif line and not line.startswith(("#", " ")) and len(fields) >= 8:
            fields[4] = "n"
            master.append(" ".join(fields))
        else:
            master.append(line)
    (etc / "master.cf").write_text("\n".join(master) + "\n")
    if Path("/etc/postfix/dynamicmaps.cf").exists():
        shutil.copy("/etc/postfix/dynamicmaps.cf", etc)
    (etc / "transport").write_text("".join(f"{domain} smtp:{hop}\n" for domain, hop in (hops or {}).items()))
    (etc / "main.cf").write_text(
        f"""compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
multi_instance_name = postfix-bench
myhostname = pf.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_restrictions = check_client_access static:HOLD
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
default_process_limit = 200
smtpd_tls_security_level = none
smtp_tls_security_level = none
transport_maps = texthash:{etc}/transport
qmgr_message_active_limit = 20000
message_size_limit = 33554432
in_flow_delay = 0
"""
    )
    environment = dict(os.environ, PATH=PATH)
    subprocess.run(["postfix", "-c", str(etc), "start"], env=environment, check=True, capture_output=True)
    try:
        wait_for_port(port)
        yield port, int((folder / "spool/pid/master.pid").read_text())
    finally:
        subprocess.run(["postfix", "-c", str(etc), "stop"], env=environment, check=False, capture_output=True)


def release(folder: Path) -> None:
    """Have the Postfix in `folder` deliver what it holds; returns when its queue manager has been told."""
    environment, etc = dict(os.environ, PATH=PATH), str(folder / "etc")
    subprocess.run(["postsuper", "-c", etc, "-H", "ALL"], env=environment, check=True, capture_output=True)
    subprocess.run(["postqueue", "-c", etc, "-f"], env=environment, check=True, capture_output=True)


def tree_cpu_s(root: int) -> float:
    """Give user and system seconds of the process tree under `root`, children already reaped included."""
    seconds: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        seconds[int(entry)] = sum(map(int, fields[11:15]))
        children.setdefault(int(fields[1]), []).append(int(entry))
    todo, total = [root], 0
    while todo:
        process = todo.pop()
        total += seconds.get(process, 0)
        todo += children.get(process, [])
    return total / TICK
