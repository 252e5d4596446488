"""Functions on values alone: nothing in here knows of mail, the network or files."""

from hslpy.builtins.core import (
    arrays,
    domains,
    encodings,
    hashes,
    jsontext,
    mailtext,
    networks,
    numbers,
    packing,
    regexes,
    strings,
    system,
    tables,
    times,
    types,
)
from hslpy.lang.declare import Topic

TOPICS: tuple[Topic, ...] = (
    types.TOPIC,
    strings.TOPIC,
    arrays.TOPIC,
    numbers.TOPIC,
    regexes.TOPIC,
    hashes.TOPIC,
    encodings.TOPIC,
    jsontext.TOPIC,
    times.TOPIC,
    networks.TOPIC,
    domains.TOPIC,
    packing.TOPIC,
    tables.TOPIC,
    mailtext.TOPIC,
    system.TOPIC,
)
