"""Reads a PHLO or its node from Plivo, as Plivo's SDKs do before an action.

A GET changes nothing: it is not recorded in the ledger, and may be retried.
"""

from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Protocol

from cold_transfer.deadline import Deadline
from cold_transfer.errors import SecretUnavailable
from cold_transfer.plivo.client import PlivoCredentials, Resource
from cold_transfer.plivo.response import Reading

#: Reserved from the invocation's time for the answer.
ANSWER_SECONDS = 0.5


class Plivo(Protocol):
    """The part of ``plivo.client.PlivoClient`` that is used."""

    def read(
        self, resource: Resource, credentials: PlivoCredentials, deadline: Deadline
    ) -> Reading: ...


class Credentials(Protocol):
    """The part of ``aws.secrets.CachedSecret`` that is used."""

    def get(self) -> PlivoCredentials: ...
    def refresh(self) -> PlivoCredentials: ...


class Probe(Protocol):
    """The part of ``telemetry.Telemetry`` that is used."""

    def remote(
        self, host: str, url_template: str, method: str
    ) -> AbstractContextManager[dict[str, int]]: ...


class Reader:
    """Reads from Plivo; for ``plivo_host`` and ``plivo_seconds`` see ``ActionService``."""

    def __init__(
        self,
        plivo: Plivo,
        credentials: Credentials,
        probe: Probe,
        *,
        plivo_host: str,
        plivo_seconds: float,
    ) -> None:
        self._plivo = plivo
        self._credentials = credentials
        self._probe = probe
        self._plivo_host = plivo_host
        self._plivo_seconds = plivo_seconds

    def read(self, resource: Resource, deadline: Deadline) -> Reading:
        """Read the resource from Plivo; ``deadline`` is when the invocation ends.

        Raises
        ------
        SecretUnavailable
            There are no credentials; nothing was sent to Plivo.
        """
        patience = deadline.earlier(ANSWER_SECONDS).within(self._plivo_seconds)
        credentials = self._credentials.get()
        reading = self._get(resource, credentials, patience)
        if reading.plivo_status != HTTPStatus.UNAUTHORIZED:
            return reading
        try:  # the token may have been rotated a moment ago
            fresh = self._credentials.refresh()
        except SecretUnavailable:
            return reading
        return reading if fresh == credentials else self._get(resource, fresh, patience)

    def _get(
        self, resource: Resource, credentials: PlivoCredentials, patience: Deadline
    ) -> Reading:
        with self._probe.remote(self._plivo_host, resource.url_template, "GET") as seen:
            reading = self._plivo.read(resource, credentials, patience)
            if reading.plivo_status is not None:
                seen["status"] = reading.plivo_status
        return reading
