"""Why a boto3 call failed, in words that are safe to log."""

from botocore.exceptions import ClientError


def reason(error: Exception) -> str:
    """The kind of failure, without its text, which may quote the request."""
    if isinstance(error, ClientError):
        return str(error.response["Error"]["Code"])
    return type(error).__name__
