"""How calls of boto3 fail, and what may be said of it."""

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

#: No reply, or one that is none of the service's: botocore's parser has its error beside the tree.
NO_REPLY = (BotoCoreError, ResponseParserError)

#: What a call raises when the service says no, or nothing.
FAILURES = (ClientError, *NO_REPLY)


def reason(error: Exception) -> str:
    """The kind of failure, without its text, which may quote the request."""
    if isinstance(error, ClientError):
        return str(error.response["Error"]["Code"])
    return type(error).__name__
