"""The settings table: every setting is a row here. In: nothing. Out: `ROWS`; `load.py` reads files against it.

Names, kinds and defaults come from the settings dataclasses of the rooms; here stands what an operator is told.
"""

from __future__ import annotations

from hslpy.admin.settings import AdminSettings
from hslpy.client.bounce_lists import BounceListSettings
from hslpy.client.certificates import CertificateFiles
from hslpy.client.contract import ClientSettings, Timeouts
from hslpy.client.http_contract import HttpSettings
from hslpy.client.ldap import LdapProfile
from hslpy.client.logfiles import LogFileSettings
from hslpy.client.sockets import KeyPair, SocketSettings
from hslpy.config.table import About, Setting, rows_of
from hslpy.delivery.settings import DeliverySettings, Transport
from hslpy.dns.resolver import ResolverSettings
from hslpy.egress.rules.sources import Source
from hslpy.egress.store.place import EgressSettings
from hslpy.hooks.moments import MOMENTS
from hslpy.lang.run import Limits
from hslpy.queue.queue import QueueSettings
from hslpy.queue.schedule import RetrySchedule
from hslpy.rate.contract import RateSettings
from hslpy.scan.clamd import ClamdSettings
from hslpy.scan.dlp import DlpRule, DlpSettings
from hslpy.scan.rspamd import RspamdSettings
from hslpy.scan.spamc import SpamdSettings
from hslpy.smtp.settings import Listener, SmtpSettings
from hslpy.spool.sqlite import SpoolSettings
from hslpy.store.settings import MemorySettings, RedisProfile, RedisSettings

# Tables that turn something on by being there; `hslpy config` prints them as comments.
OPTIONAL_TABLES = frozenset({"scanners.spamassassin", "scanners.rspamd", "scanners.clamd"})

ROWS: list[Setting] = [
    Setting(
        "workers",
        "integer",
        1,
        'processes that share the ports and the queue; more than one want `rate.store = "redis"`',
        minimum=1,
        maximum=64,
    ),
    Setting(
        "server.hostname", "text", "", "the server's own name, for greetings, Received and reports; empty: the machine's"
    ),
    Setting("server.data_dir", "path", None, "folder of the spool, the control socket and caches; made with mode 0700"),
    Setting("server.uvloop", "boolean", True, "run on uvloop's event loop"),
    *rows_of(
        "listen[]",
        Listener,
        {
            "host": About("address to listen on"),
            "port": About("port to listen on; 0 takes a free one", minimum=0, maximum=65535),
            "server_id": About("what scripts see as `$serverid`"),
            "tls": About("`starttls` offers it where a certificate is set"),
        },
    ),
    *rows_of(
        "smtp",
        SmtpSettings,
        {
            "relay_networks": About("networks whose clients may send to anywhere without signing in"),
            "transport_id": About("transport of recipients that no script gave another"),
            "tls_certificate": About("PEM file with the certificate chain; read anew when it changes"),
            "tls_key": About("PEM file with the private key; left out: it is in the other file"),
            "tls_minimum_version": About("the oldest TLS that clients may speak"),
            "auth_without_tls": About("offer AUTH before TLS"),
            "auth_mechanisms": About("mechanisms offered; any but PLAIN and LOGIN is the auth script's to carry out"),
            "auth_delay_s": About("wait before a refused AUTH is answered; longer with each, up to tenfold", "s", minimum=0),
            "max_auth_failures": About("refused AUTH commands before the connection is closed", minimum=1),
            "auth_window_s": About("time over which failed logins are counted", "s", minimum=1),
            "auth_block_s": About("how long who failed too often is refused, unheard", "s", minimum=1),
            "auth_failures_per_client": About("failed logins from one IPv4 address or IPv6 /64 before it is", minimum=1),
            "auth_failures_per_user_network": About(
                "failed logins as one user from one /24 (IPv6: /48) before that user is, from there", minimum=1
            ),
            "auth_failures_per_user": About(
                "failed logins as one user before that user is, but from where it signed in within 30 days", minimum=1
            ),
            "auth_exempt_networks": About("networks whose failed logins count for nothing: webmail hosts, for instance"),
            "users_file": About(
                "file of users, a line `name:$argon2id$...` each (`hslpy user hash`), asked where hooks.auth is not set"
            ),
            "auth_threads": About("passwords compared with that file at a time", minimum=1),
            "auth_waiting": About("how many more may wait for it; any beyond are answered 454", minimum=0),
            "size_limit_bytes": About("the largest message accepted", "bytes", minimum=1024),
            "header_limit_bytes": About("the largest header accepted", "bytes", minimum=1024),
            "line_limit_bytes": About("the longest line accepted, its end included", "bytes", minimum=80),
            "data_memory_bytes": About("memory for messages being received; one client has half", "bytes", minimum=1024),
            "max_recipients": About("recipients of one message", minimum=1),
            "max_received": About("Received headers before a message counts as looping", minimum=1),
            "max_connections": About("connections at a time", minimum=1),
            "max_connections_per_client": About("connections at a time from one address, of IPv6 one /64", minimum=1),
            "max_errors": About("refused commands before the connection is closed", minimum=1),
            "max_unknown_commands": About("unknown commands before the connection is closed", minimum=1),
            "idle_timeout_s": About("how long a client may be silent", "s", minimum=1),
            "data_timeout_s": About("how long the end of DATA may take before the message is deferred", "s", minimum=1),
            "greeting_delay_s": About(
                "how long clients wait for the greeting; who speaks meanwhile is turned away", "s", minimum=0
            ),
            "ptr_lookup": About("look up the client's name in DNS at connect"),
            "backlog": About("connections that may wait to be taken", minimum=1),
        },
    ),
    *rows_of(
        "smtp.certificates[]",
        CertificateFiles,
        {
            "certificate": About("PEM file of a further certificate, for clients that ask for a name it bears (SNI)"),
            "key": About("PEM file with its private key; left out: it is in the other file"),
        },
    ),
    *(
        Setting(f"hooks.{hook}", "texts", (), f"script file, or a list run in order until one gives a verdict: {moment}")
        for hook, moment in MOMENTS.items()
    ),
    Setting(
        "hooks.packaged", "boolean", False, "where a hook has no script of yours, use the one that comes with the server"
    ),
    Setting(
        "hooks.profile",
        "text",
        "newest",
        "the year's behaviour that scripts are written for, or a release such as `4.6`",
    ),
    Setting(
        "hooks.profiles",
        "texts by text",
        {},
        'the same for single files and folders: `{"scripts/old" = "2015"}`; the longest path that fits counts',
    ),
    Setting("hooks.search_path", "texts", (), "folders in which include and import look for a bare name"),
    Setting("hooks.reload_check_s", "number", 1.0, "how often changed scripts are looked for; 0 for never", "s", minimum=0),
    Setting("hooks.environment", "texts", (), "environment variables that scripts may read with getenv()"),
    Setting(
        "files.folders", "texts", (), "folders whose files scripts may read; empty: the scripts' own and hooks.search_path"
    ),
    *rows_of(
        "hooks.limits",
        Limits,
        {
            "steps": About("loop turns, calls and work units of one run", minimum=1000),
            "depth": About("nested calls of one run", minimum=10),
            "wall_s": About("time of one run, waiting included", "s", minimum=0.1),
            "cpu_s": About("computing time of one run", "s", minimum=0.01),
            "string_bytes": About("the longest string that one operation may make", "bytes", minimum=1 << 16),
            "memory_bytes": About("memory that one run's values may take", "bytes", minimum=1 << 20),
            "regex_s": About("time of one match", "s", minimum=0.01),
        },
    ),
    *rows_of(
        "spool",
        SpoolSettings,
        {
            "body_file_above_bytes": About("bodies above it are files beside the database", "bytes", minimum=0),
            "min_free_bytes": About("free disk below which new mail is refused", "bytes", minimum=0),
            "reserve_bytes": About(
                "disk kept in a file, and used when it is full, so that what is queued leaves", "bytes", minimum=0
            ),
            "max_batch": About("messages that may share a commit", minimum=1),
            "readers": About("threads that read messages", minimum=1),
        },
    ),
    *rows_of(
        "queue",
        QueueSettings,
        {
            "spread_s": About("after a restart, overdue retries are spread over this time", "s", minimum=0),
            "spread_above": About("only when more are overdue than this", minimum=0),
            "delay_warning_after_s": About(
                "ages at which a sender is told that mail still waits, counted from its first attempt; empty: never",
                "s",
                minimum=1,
            ),
            "max_metric_sets": About("sets of fields that GetMailQueueMetric may count at a time", minimum=1),
        },
    ),
    *rows_of(
        "queue.schedule",
        RetrySchedule,
        {
            "wait_s": About("wait after the first attempt", "s", minimum=1),
            "factor": About("how many times longer each wait is than the one before", minimum=1),
            "ceiling_s": About("the longest wait", "s", minimum=1),
            "jitter": About("share by which each wait is stretched or shortened at random", minimum=0),
            "lifetime_s": About("a recipient is bounced this long after its first attempt", "s", minimum=1),
            "bounce_lifetime_s": About("the same for mail with the null sender, which is dropped", "s", minimum=1),
        },
    ),
    *rows_of(
        "delivery",
        DeliverySettings,
        {
            "sources": About(
                "ids of the sources used where neither script nor transport names any; empty: the system's choice"
            ),
            "attempts": About("attempts under way at a time", minimum=1),
            "attempt_s": About(
                "time for one attempt; the answer to the message itself is waited for beyond it", "s", minimum=1
            ),
            "slow_attempts": About("attempts beside these that have lasted for longer than `slow_after_s`", minimum=0),
            "slow_after_s": About("after this time an attempt no longer counts among `attempts`", "s", minimum=0.1),
            "destination_connections": About("attempts at a time to one next hop or recipient domain", minimum=1),
            "parked": About("due recipients held in memory for a slot of their destination", minimum=0),
            "content_memory_bytes": About(
                "memory for contents of messages above 64 KiB under way; one above it all goes alone", "bytes", minimum=1024
            ),
            "target_addresses": About("addresses that one attempt tries", minimum=1),
            "recipients_per_transaction": About("recipients of one message sent together", minimum=1),
            "prefer_family": About("4 or 6: the IP version tried first"),
            "allow_private_targets": About("deliver to loopback and private addresses; loopback may be a delivery IP, too"),
            "source_suspension_s": About("how long a source that cannot be bound is left out", "s", minimum=1),
            "wait_s": About("how long a recipient waits, uncharged, for something of ours to be put right", "s", minimum=1),
            "report_transport_id": About("transport of bounce reports; empty: that of the message they are about"),
            "report_from": About("the address that reports are from; empty: MAILER-DAEMON at the server's own name"),
            "report_from_name": About("the name with it"),
            "report_full_max_bytes": About("a message above it comes back as its header alone", "bytes", minimum=0),
        },
    ),
    *rows_of(
        "delivery.timeouts",
        Timeouts,
        {
            "connect_s": About("time to connect to a host", "s", minimum=0.1),
            "greeting_s": About("for its greeting", "s", minimum=0.1),
            "command_s": About("for its answer to a command", "s", minimum=0.1),
            "data_s": About("for its answer to DATA", "s", minimum=0.1),
            "block_s": About("for each stretch of a message that it takes in", "s", minimum=0.1),
            "final_s": About("for its answer to the whole message; cut short, mail is delivered twice", "s", minimum=0.1),
            "quit_s": About("for its answer to QUIT", "s", minimum=0.1),
        },
    ),
    *rows_of(
        "transport[]",
        Transport,
        {
            "id": About("the transport's id, as in `mailtransport:1`"),
            "next_hop": About("host or IP that takes all its mail; left out: the recipient domain's MX"),
            "port": About("the port", minimum=1, maximum=65535),
            "protocol": About("smtp or lmtp"),
            "sources": About("ids of its sources"),
            "helo": About("EHLO name where its source has none"),
            "tls": About("how far TLS is wanted"),
            "tls_names": About("names that the certificate may have, instead of the host's"),
            "username": About("login at the next hop"),
            "password": About("its password", secret=True),
            "destination_connections": About("as `delivery.destination_connections`, for this transport", minimum=1),
            "allow_private_targets": About("as `delivery.allow_private_targets`, for this transport"),
        },
    ),
    *rows_of(
        "source[]",
        Source,
        {
            "id": About("the source's id, as in `netaddr:1`"),
            "address": About("a local IP address"),
            "helo": About("the EHLO name; it should be the address's name in DNS. Empty: the server's own"),
        },
    ),
    *rows_of(
        "egress",
        EgressSettings,
        {
            "database": About(
                "the database of delivery IPs: sqlite:///path, or postgresql://user:password@host/name for several nodes;"
                " left out: delivery.db in server.data_dir. Empty: there is none, nor a page, and mail leaves by [[source]]",
                secret=True,
            ),
        },
    ),
    *rows_of(
        "admin",
        AdminSettings,
        {
            "listen": About("`address:port` of each place where page and API are served; empty: nowhere but to commands"),
            "certificate": About("PEM file with the certificate chain, for TLS; without one the page is on loopback alone"),
            "key": About("PEM file with its private key; left out: it is in the other file"),
            "names": About("host names by which the page is asked for, beside server.hostname and those in the certificate"),
        },
    ),
    *rows_of(
        "client",
        ClientSettings,
        {
            "idle_s": About("how long a connection is kept for another message", "s", minimum=0),
            "messages_per_connection": About("messages sent over one connection", minimum=1),
            "idle_connections": About("connections kept at a time", minimum=0),
            "ca_file": About("PEM bundle for the verifying TLS modes; empty: the system's"),
            "convert_8bit": About("make messages 7-bit for servers without 8BITMIME; false: they come back with 5.6.3"),
        },
    ),
    *rows_of(
        "http",
        HttpSettings,
        {
            "ca_file": About("PEM bundle of who http() trusts; empty: the system's"),
            "connections": About("connections of http() at a time", minimum=1),
            "background_queues": About("background requests under way at a time, each from its own queue", minimum=1),
            "background_requests": About("background requests that may wait", minimum=0),
            "background_bytes": About("and what they may hold", "bytes", minimum=0),
            "background_timeout_s": About("time for each try, where the script sets none", "s", minimum=0.1),
            "drain_s": About("how long a stopping server goes on with them", "s", minimum=0),
        },
    ),
    *rows_of(
        "dns",
        ResolverSettings,
        {
            "nameservers": About("name servers' addresses; empty: those of /etc/resolv.conf"),
            "port": About("their port", minimum=1, maximum=65535),
            "try_s": About("time for one server to answer", "s", minimum=0.1),
            "lifetime_s": About("time for the whole question", "s", minimum=0.1),
            "cache_entries": About("answers kept", minimum=0),
            "ttl_ceiling_s": About("the longest time an answer is kept", "s", minimum=0),
            "negative_ceiling_s": About("the longest time a refusal is kept", "s", minimum=0),
            "trust_ad": About("believe the server that an answer is validated; only for a resolver on this machine"),
        },
    ),
    *rows_of(
        "sockets",
        SocketSettings,
        {
            "timeout_s": About("how long a socket of a script waits where the script doesn't say", "s", minimum=0),
        },
    ),
    *rows_of(
        "pki[]",
        KeyPair,
        {
            "id": About("what scripts call it, behind `pki:`"),
            "key": About("PEM file with the private key"),
            "certificate": About("PEM file with the certificate chain; none for a key that only signs"),
        },
    ),
    *rows_of(
        "ldap[]",
        LdapProfile,
        {
            "id": About("what ldap_search() and ldap_bind() call the profile, after `ldap:` or without it"),
            "host": About("address of the server, ldap:// or ldaps://; several are tried in turn"),
            "username": About("name to search as, a distinguished name; empty: nobody's"),
            "password": About("its password", secret=True),
            "base": About("entry to search below"),
            "query": About("filter, with `%s` for what is looked up, or `$1`, `$2` for several values"),
            "tls_default_ca": About("take the system's authorities beside those of client.ca_file"),
            "tls_verify_peer": About("want a certificate of a known authority that bears the server's name"),
        },
    ),
    *rows_of(
        "log_file[]",
        LogFileSettings,
        {
            "id": About("what scripts call the file in logger()"),
            "path": About("file to append to; made where there is none, and anew when it was moved away"),
            "fsync": About("have each write on the disk before the script goes on"),
        },
    ),
    *rows_of(
        "bounce_list[]",
        BounceListSettings,
        {
            "id": About("what scripts call the list in bounce_list()"),
            "path": About("CSV file: a pattern within slashes, value, groupings, state, comment; read anew when it changes"),
        },
    ),
    *rows_of(
        "redis_profile[]",
        RedisProfile,
        {
            "id": About("what scripts call the server in Redis(); Redis() without a name is that of [redis]"),
            "url": About("its address, as `redis.url`", secret=True),
            "timeout_s": About("time for a command", "s", minimum=0.01),
            "max_connections": About("connections at a time", minimum=1),
        },
    ),
    *rows_of(
        "rate",
        RateSettings,
        {
            "store": About("where rate counters are"),
            "on_unreachable": About(
                "what rate() gives while Redis is away: this node's own count, true, false, or none",
            ),
            "timeout_s": About("time for Redis to answer", "s", minimum=0.01),
            "retry_s": About("how often Redis is looked for while it is away", "s", minimum=0.01),
            "batch_max": About("checks sent in one call", minimum=1),
            "key_prefix": About("what the keys begin with"),
            "max_entries": About("counters kept in memory", minimum=1),
        },
    ),
    *rows_of(
        "redis",
        RedisSettings,
        {
            "url": About("redis://[user:password@]host[:port][/db], rediss:// for TLS, unix:///path", secret=True),
            "sentinels": About("`host:port` of each Sentinel, which say where the master is; instead of `url`"),
            "sentinel_service": About("the master's name among the Sentinels"),
            "sentinel_username": About("who signs in to the Sentinels"),
            "sentinel_password": About("its password", secret=True),
            "cluster": About("`host:port` of some nodes of a Redis Cluster; instead of `url`"),
            "username": About("who signs in to Redis, where the URL doesn't say"),
            "password": About("its password", secret=True),
            "database": About("number of the database; of `sentinels`, a URL has its own", minimum=0),
            "tls": About("use TLS; of `sentinels` and `cluster`, a URL says rediss://"),
            "tls_verify_host": About("whether the certificate must have the name or address asked for"),
            "ca_file": About("PEM file with the authorities to trust; empty: the system's"),
            "tls_certificate": About("PEM file with our certificate, where Redis asks for one"),
            "tls_key": About("PEM file with its private key"),
            "connect_timeout_s": About("time to connect", "s", minimum=0.01),
            "max_connections": About("connections at a time", minimum=1),
        },
    ),
    *rows_of(
        "memory",
        MemorySettings,
        {
            "store": About("where memory_* and barrier keep their values; in Redis all processes share them"),
            "timeout_s": About("time for Redis to answer", "s", minimum=0.01),
            "retry_s": About("how often Redis is looked for while it is away", "s", minimum=0.01),
            "lock_s": About("how soon the barrier of a process that died is open again", "s", minimum=0.3),
            "kept_s": About("how long Redis keeps a value that nobody changes", "s", minimum=60),
            "key_prefix": About("what the keys in Redis begin with"),
        },
    ),
    Setting(
        "scanners.on_failure",
        "text",
        "zero",
        "when a scanner fails: `zero` scores it 0, `defer` defers the message; both are logged",
        choices=("zero", "defer"),
    ),
    *rows_of(
        "scanners.spamassassin",
        SpamdSettings,
        {
            "address": About("host:port or socket path of spamd; the table being there turns ScanSA on"),
            "user": About("whose preferences spamd takes"),
            "timeout_s": About("time for a whole scan", "s", minimum=0.1),
            "max_size_bytes": About("larger messages are not scanned", "bytes", minimum=0),
            "concurrency": About("scans at a time", minimum=1),
        },
    ),
    *rows_of(
        "scanners.rspamd",
        RspamdSettings,
        {
            "url": About("URL or socket path of rspamd's worker; the table being there turns ScanRPD on"),
            "password": About("its password, where it wants one", secret=True),
            "timeout_s": About("time for a whole scan", "s", minimum=0.1),
            "max_size_bytes": About("larger messages are not scanned", "bytes", minimum=0),
            "concurrency": About("scans at a time", minimum=1),
            "classes": About("class (0, 10, 40, 50 or 100) by rspamd's action, over the defaults"),
            "score_classes": About("score from which each class holds, instead of by action"),
        },
    ),
    *rows_of(
        "scanners.clamd",
        ClamdSettings,
        {
            "address": About("host:port or socket path of clamd; the table being there turns ScanCLAM on"),
            "timeout_s": About("time for a whole scan", "s", minimum=0.1),
            "max_size_bytes": About("larger messages are not scanned", "bytes", minimum=0),
            "concurrency": About("scans at a time", minimum=1),
        },
    ),
    *rows_of(
        "scanners.dlp",
        DlpSettings,
        {
            "timeout_s": About("time for a whole scan of ScanDLP", "s", minimum=0.1),
            "max_unpacked_bytes": About("what a message's archives may unpack to", "bytes", minimum=0),
            "max_files": About("files in a message's archives", minimum=0),
            "concurrency": About("threads that scan", minimum=1),
        },
    ),
    *rows_of(
        "scanners.dlp.rules[]",
        DlpRule,
        {
            "name": About("what scripts call the rule, and what ScanDLP gives"),
            "filename": About("regular expressions for names of files, those in archives included"),
            "mimetype": About("regular expressions for media types, as declared and as found from the content"),
            "regex": About("regular expressions for headers, texts and contents of files"),
            "md5hash": About("MD5 digests of files, hexadecimal"),
            "sha1hash": About("SHA-1 digests of files, hexadecimal"),
            "sha2hash": About("SHA-256 or SHA-512 digests of files, hexadecimal"),
        },
    ),
    Setting("log.level", "text", "info", "least level logged", choices=("debug", "info", "warning", "error")),
    Setting("log.format", "text", "text", "`text` for people, `json` for machines", choices=("text", "json")),
]
