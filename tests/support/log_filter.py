"""Which lines Lambda sends to CloudWatch: a model of its documented log-level filter.

AWS Lambda Developer Guide, "Log-level filtering" (monitoring-cloudwatchlogs-log-level.html):
filtering needs the JSON log format; a line has the level that its ``level`` names, in any case of
letters; one without a valid level, or without a ``timestamp`` as in RFC 3339, counts as INFO; what
is below the function's application log level, INFO unless one is set, is not sent.
"""

import json
import re
from datetime import datetime
from typing import Any

#: From the most detailed to the least, as the guide lists them: there is no WARNING, no CRITICAL.
LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", flags=re.ASCII
)


def level_of(line: str) -> str:
    """The level that Lambda takes the line for."""
    try:
        fields: Any = json.loads(line)
    except ValueError:
        return "INFO"
    if not isinstance(fields, dict) or not is_rfc_3339(fields.get("timestamp")):
        return "INFO"
    level = str(fields.get("level")).upper()
    return level if level in LEVELS else "INFO"


def passes(line: str, log_format: str, log_level: str = "INFO") -> bool:
    """Whether the line reaches CloudWatch with these settings of the function."""
    if log_format != "JSON":
        return True
    return LEVELS.index(level_of(line)) >= LEVELS.index(log_level)


def is_rfc_3339(value: object) -> bool:
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value.upper())
    except ValueError:
        return False
    return True
