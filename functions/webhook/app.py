"""Door 1: a request from API Gateway in, an HTTP answer out.

Order of checks: size, credential, media type, contract, rights, ledger (design: what every cause
leads to is in ``cold_transfer.causes.TABLE``).
"""

import functools
import time
from typing import Any

from cold_transfer import body, doors, problem, start_up, view
from cold_transfer.callers import Identity
from cold_transfer.errors import (
    BodyMalformed,
    ColdTransferError,
    PhloNotAllowed,
    TransferNotFound,
)
from cold_transfer.invocation import correlation_id, deadline_of, member
from cold_transfer.problem import Response
from cold_transfer.transfer import Door
from cold_transfer.webhook_request import (
    ProxyEvent,
    headers_of,
    looked_up,
    proxy_event,
    request_of,
)


class Webhook:
    """``callers``, ``service``, ``ledger`` and ``telemetry`` are those of the composition root."""

    def __init__(self, parts: doors.Parts) -> None:
        self._parts = parts

    def __call__(self, event: object, context: Any) -> Response:  # noqa: ANN401
        request_id = correlation_id(member(event, "requestContext", "requestId"))
        telemetry = self._parts.telemetry
        with telemetry.invocation(request_id):
            try:
                return self._answer(proxy_event(event), context)
            except ColdTransferError as error:
                telemetry.refused(error)
                return problem.of_error(error, request_id)

    def _answer(self, event: ProxyEvent, context: Any) -> Response:  # noqa: ANN401
        headers = headers_of(event)
        malformed: BodyMalformed | None = None
        try:
            raw = body.read_raw(event.get("body"), bool(event.get("isBase64Encoded")))
        except BodyMalformed as error:
            raw, malformed = b"", error  # who may not ask learns nothing about the body either
        callers = self._parts.callers.get()
        identity = callers.authenticate(headers, raw, time.time())
        self._parts.telemetry.annotate(caller=identity.caller.name)
        if malformed is not None:
            raise malformed
        if raw and event.get("httpMethod") == "GET":
            # a signature does not cover the method: that of a captured POST would be good here too
            raise BodyMalformed("a GET must not have a body")
        transfer_id = looked_up(event)
        if transfer_id is not None:
            return self._look(transfer_id, identity)
        request = request_of(event, headers, raw, identity)
        if not identity.caller.may_use(request.transfer.phlo_id):
            raise PhloNotAllowed("the caller's phlo_ids do not have this PHLO")
        deadline = deadline_of(context, self._parts.settings.function_timeout_seconds)
        answer = self._parts.service.perform(request, deadline)
        self._parts.telemetry.answered(answer)
        return problem.of_answer(answer)

    def _look(self, transfer_id: str, identity: Identity) -> Response:
        found = self._parts.ledger.look(transfer_id)
        own = (Door.WEBHOOK, identity.caller.name)
        if found is None or (found[0].door, found[0].caller) != own:
            raise TransferNotFound("no such transfer of this caller")
        return problem.response(200, view.of_record(*found), {})


@functools.cache
def _door() -> Webhook:
    return Webhook(doors.parts(Door.WEBHOOK))


def handler(event: object, context: Any) -> Response:  # noqa: ANN401  Lambda's own
    """Answer one request of API Gateway's REST proxy integration (payload version 1.0)."""
    return _door()(event, context)


start_up.finish(_door)  # nothing is fetched, nothing connected
