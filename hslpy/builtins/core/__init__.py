"""Functions on values alone: nothing in here knows of mail, the network or files."""

from hslpy.builtins.core import (
    arrays,
    encodings,
    hashes,
    jsontext,
    networks,
    numbers,
    regexes,
    strings,
    system,
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
    system.TOPIC,
)
