"""Functions that scripts call and that touch the server: verdicts, the message, the queue, scanners, counters."""

from hslpy.builtins.host import (
    attempt,
    dns,
    end_of_data,
    headers,
    log,
    mailmessage,
    mailtext,
    memory,
    metadata,
    mime,
    mimepart,
    outcome,
    queue_metric,
    rates,
    scanners,
    system,
    tls,
    verdicts,
)
from hslpy.lang.declare import Topic

TOPICS: tuple[Topic, ...] = (
    verdicts.TOPIC,
    end_of_data.TOPIC,
    headers.TOPIC,
    mailmessage.TOPIC,
    mime.TOPIC,
    mimepart.TOPIC,
    metadata.TOPIC,
    scanners.TOPIC,
    attempt.TOPIC,
    outcome.TOPIC,
    queue_metric.TOPIC,
    rates.TOPIC,
    memory.TOPIC,
    log.TOPIC,
    tls.TOPIC,
    dns.TOPIC,
    mailtext.TOPIC,
    system.TOPIC,
)
