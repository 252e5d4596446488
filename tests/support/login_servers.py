"""Private Dovecot and FreeRADIUS on loopback, each with the user `me` and the password `secret`. Out: host and port."""

from __future__ import annotations

import grp
import os
import pwd
import socket

from tests.support.scanners import HOST, _Daemon, free_port


class DovecotServer(_Daemon):
    """Dovecot with nothing but its authentication, with the mechanisms given."""

    name = "dovecot"

    def __init__(self, mechanisms: str = "plain login cram-md5") -> None:
        super().__init__()
        self.host, self.port, self._mechanisms = HOST, free_port(), mechanisms

    def __enter__(self) -> DovecotServer:
        me, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
        (self.folder / "users").write_text("me:{PLAIN}secret::::::\n")
        (self.folder / "dovecot.conf").write_text(
            f"base_dir = {self.folder}/run\nstate_dir = {self.folder}\nlog_path = {self.folder}/dovecot.log\n"
            f"protocols =\nssl = no\nauth_mechanisms = {self._mechanisms}\nauth_failure_delay = 0\n"
            f"default_internal_user = {me}\ndefault_internal_group = {group}\n"
            f"default_login_user = {me}\nfirst_valid_uid = 0\n"
            "service stats {\n chroot =\n}\nservice anvil {\n chroot =\n"
            " unix_listener anvil-auth-penalty {\n mode = 0\n }\n}\n"  # who fails has to wait seconds else
            f"passdb {{\n driver = passwd-file\n args = {self.folder}/users\n}}\n"
            f"service auth {{\n user = {me}\n inet_listener {{\n address = {self.host}\n port = {self.port}\n }}\n}}\n"
        )
        self._start(["dovecot", "-F", "-c", str(self.folder / "dovecot.conf")], socket.AF_INET, (self.host, self.port))
        return self


class RadiusServer(_Daemon):
    """FreeRADIUS; it takes the user `client` only from a client 192.0.2.7 with the vendor's texts `one` and `two`.

    `wants` is challenged for more than a password. Of the user `silent` it never says anything.
    """

    name = "radius"
    secret = "shared secret"

    def __init__(self) -> None:
        super().__init__()
        self.host, self.port, self._control = HOST, free_port(), free_port()

    def __enter__(self) -> RadiusServer:
        (self.folder / "dictionary").write_text(
            "$INCLUDE /usr/share/freeradius/dictionary\nVENDOR Example 33234\nBEGIN-VENDOR Example\n"
            "ATTRIBUTE Example-One 1 string\nATTRIBUTE Example-Two 2 string\nEND-VENDOR Example\n"
        )
        (self.folder / "radiusd.conf").write_text(
            f"name = radiusd\nlibdir = /usr/lib/freeradius\nrun_dir = {self.folder}\nlogdir = {self.folder}\n"
            f"pidfile = {self.folder}/pid\nmax_requests = 1024\n"
            "security {\n reject_delay = 0\n allow_vulnerable_openssl = yes\n}\n"
            f'client tests {{\n ipaddr = 127.0.0.0/8\n secret = "{self.secret}"\n require_message_authenticator = yes\n}}\n'
            "modules {\n pap {\n }\n always handled {\n rcode = handled\n }\n}\n"
            "server default {\n"
            f" listen {{\n type = auth\n ipaddr = {self.host}\n port = {self.port}\n }}\n"
            f" listen {{\n type = auth\n proto = tcp\n ipaddr = {self.host}\n port = {self._control}\n }}\n"
            " authorize {\n"
            + "".join(
                f'  if (&User-Name == "{name}") {{\n   update control {{\n    Response-Packet-Type := {answer}\n   }}\n'
                "   handled\n  }\n"
                for name, answer in (("silent", "Do-Not-Respond"), ("wants", "Access-Challenge"))
            )
            + '  if (&User-Name == "me" && &NAS-Identifier == "mx.example.org") {\n'
            '   update control {\n    Cleartext-Password := "secret"\n   }\n  }\n'
            '  if (&User-Name == "client" && &Calling-Station-Id == "192.0.2.7" && &Example-One == "one"'
            ' && &Example-Two == "two") {\n   update control {\n    Cleartext-Password := "secret"\n   }\n  }\n'
            "  pap\n }\n authenticate {\n  pap\n }\n}\n"
        )
        # The TCP port is only to know when it listens: of UDP nobody can tell.
        command = ["freeradius", "-f", "-l", "stdout", "-d", str(self.folder), "-n", "radiusd", "-D", str(self.folder)]
        self._start(command, socket.AF_INET, (self.host, self._control))
        return self
