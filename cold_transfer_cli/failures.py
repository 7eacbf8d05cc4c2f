"""Turns errors into messages for the operator."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004  botocore's name for it
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)


class OperatorError(Exception):
    """A command cannot be carried out; the message gives the reason, and what to do."""


_EXPIRED = (
    "The AWS session has expired: sign in again (aws sso login, or a new session token), then"
    " repeat the command."
)
_NOT_KNOWN = (
    "AWS does not accept these credentials: the key is wrong or deleted, the region is not enabled"
    " for the account, or this machine's clock is wrong."
)
_OF_CODE = {
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "RequestExpired": _EXPIRED,
    "AuthFailure": _NOT_KNOWN,
    "IncompleteSignature": _NOT_KNOWN,
    "InvalidClientTokenId": _NOT_KNOWN,
    "InvalidSignatureException": _NOT_KNOWN,
    "SignatureDoesNotMatch": _NOT_KNOWN,
    "UnrecognizedClientException": _NOT_KNOWN,
}
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError")
_THROTTLED = ("Throttling", "ThrottlingException", "TooManyRequestsException")

_OF_CLASS: tuple[tuple[tuple[type[BotoCoreError], ...], str], ...] = (
    (
        (NoCredentialsError,),
        "There are no AWS credentials: sign in (aws sso login), or choose a profile (--profile).",
    ),
    (
        (CredentialRetrievalError, PartialCredentialsError),
        "The AWS credentials cannot be used: {error}",
    ),
    ((SSOError,), "The AWS sign-in is missing or has expired: run aws sso login. ({error})"),
    ((ProfileNotFound,), "There is no such AWS profile: {error}."),
    ((NoRegionError,), "No region is set: use --region, or set AWS_DEFAULT_REGION."),
    (
        (ConnectionError, HTTPClientError),
        "AWS cannot be reached: check the network and the region's name. ({error})",
    ),
)


def attempt(work: Callable[[], int]) -> int:
    """Run a command and return its exit status.

    Errors become a message on standard error, never a traceback, and status 2. If the reader of
    standard output has ended, the status is 1; after Ctrl-C, 130.
    """
    try:
        return work()
    except OperatorError as error:
        text = str(error)
    except (BotoCoreError, ClientError) as error:
        text = sentence(error)
    except BrokenPipeError:
        # The reader (head, less) has ended; keep the interpreter from writing at exit as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001  any other exception is a bug
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        text = f"This is a bug in cold-transfer: {type(error).__name__} at {where}."
    sys.stderr.write(f"{text}\n")
    return 2


def sentence(error: BotoCoreError | ClientError) -> str:
    """Why AWS or the connection failed and, where known, what to do."""
    if isinstance(error, ClientError):
        return _refusal(error)
    for classes, text in _OF_CLASS:
        if isinstance(error, classes):
            return text.format(error=str(error).removesuffix("."))
    return f"The AWS library failed: {error}"


def _refusal(error: ClientError) -> str:
    code = error.response["Error"].get("Code", "")
    message = error.response["Error"].get("Message", "") or code
    if code in _OF_CODE:
        return f"{_OF_CODE[code]} ({code})"
    if code in _DENIED:
        return f"Your AWS permissions do not allow {error.operation_name}: {message}"
    if code in _THROTTLED:
        return f"AWS throttled {error.operation_name}: repeat the command in a minute."
    return f"AWS refused {error.operation_name}: {message} ({code})"
