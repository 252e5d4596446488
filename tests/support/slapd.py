"""A private OpenLDAP server on loopback, with a few people in it. In: nothing. Out: its addresses.

It keeps everything in a temporary folder, and neither needs nor touches the system's own.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from tests.support.scanners import HOST, free_port

ADMIN = "cn=admin,dc=example,dc=org"
PASSWORD = "secret"
PEOPLE = 300

_SETTINGS = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/pid
sizelimit unlimited
TLSCertificateFile {folder}/cert.pem
TLSCertificateKeyFile {folder}/key.pem
database mdb
maxsize 104857600
suffix "dc=example,dc=org"
rootdn "{admin}"
rootpw {password}
directory {folder}/data
dbnosync
access to attrs=userPassword by anonymous auth by * none
access to dn.base="cn=hidden,dc=example,dc=org" by * none
access to * by * read
"""
_ENTRIES = """
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: uid=ann,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: Doe
mail: ann@example.org
mail: a.doe@example.org
userPassword: letmein
jpegPhoto:: /9j/AP8=

dn: cn=Doe\\, Bob (x*),ou=people,dc=example,dc=org
objectClass: inetOrgPerson
cn: Doe, Bob (x*)
sn:: RMO2ZQ==
uid: bob

dn: cn=elsewhere,dc=example,dc=org
objectClass: referral
objectClass: extensibleObject
cn: elsewhere
ref: ldap://192.0.2.1/cn=elsewhere

"""


class Slapd:
    """The server: `uri` is ldap://, `secure` ldaps://, `path_uri` ldapi://; `certificate` is its own."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hslpy-slapd-"))
        self.certificate = self.folder / "cert.pem"
        port, secure = free_port(), free_port()
        self.uri, self.secure = f"ldap://{HOST}:{port}", f"ldaps://{HOST}:{secure}"
        self.path_uri = f"ldapi://{quote(str(self.folder / 'ldapi'), safe='')}"
        self._where = (HOST, port)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Slapd:
        folder = self.folder
        subprocess.run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
            f" -addext subjectAltName=DNS:localhost,IP:{HOST} -keyout {folder / 'key.pem'} -out {self.certificate}".split(),
            check=True,
            capture_output=True,
        )
        (folder / "data").mkdir()
        (folder / "conf").write_text(_SETTINGS.format(folder=folder, admin=ADMIN, password=PASSWORD))
        people = "".join(
            f"dn: uid=p{n},ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: p{n}\ncn: P\nsn: P\n"
            f"description: {'x' * 1000}\n\n"
            for n in range(PEOPLE)
        )
        (folder / "entries").write_text(_ENTRIES + people)
        environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"}
        command = ["slapadd", "-f", str(folder / "conf"), "-l", str(folder / "entries")]
        subprocess.run(command, check=True, capture_output=True, env=environment)
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["slapd", "-d", "0", "-f", str(folder / "conf"), "-h", f"{self.uri} {self.secure} {self.path_uri}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        for _ in range(3000):
            with socket.socket() as probe:
                if probe.connect_ex(self._where) == 0:
                    return self
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError("slapd did not start: " + (folder / "log").read_text(errors="replace"))

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
