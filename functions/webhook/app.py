"""The webhook entry point: answers HTTP requests from API Gateway.

It checks size, credential, media type, contract and rights in this order, then calls the service.
``cold_transfer.causes.TABLE`` has the answer for each cause.
"""

import functools
import time
from typing import Any

from cold_transfer import start_up
from cold_transfer.action import ActionRequest, EntryPoint
from cold_transfer.auth.clients import Identity
from cold_transfer.deadline import Deadline
from cold_transfer.entrypoints import body, problem
from cold_transfer.entrypoints.components import Components, deployed
from cold_transfer.entrypoints.invocation import (
    correlation_id,
    deadline_of,
    member,
    self_checked,
)
from cold_transfer.entrypoints.problem import Response
from cold_transfer.entrypoints.webhook_request import (
    ProxyEvent,
    headers_of,
    looked_up,
    proxy_event,
    request_of,
    resource_of,
)
from cold_transfer.errors import (
    ActionNotAllowed,
    ActionNotFound,
    BodyMalformed,
    ColdTransferError,
    PhloNotAllowed,
)
from cold_transfer.ledger import view


class Webhook:
    def __init__(self, components: Components) -> None:
        self._settings = components.settings
        self._telemetry = components.telemetry
        self._ledger = components.ledger
        self._service = components.service
        self._reader = components.reader
        self._clients = components.clients

    def __call__(self, event: object, context: Any) -> Response | dict[str, Any]:  # noqa: ANN401
        request_id = correlation_id(member(event, "requestContext", "requestId"))
        with self._telemetry.invocation(request_id):
            report = self_checked(event, EntryPoint.WEBHOOK)
            if report is not None:
                return report
            try:
                return self._respond(proxy_event(event), context, request_id)
            except ColdTransferError as error:
                return self._refuse(error, request_id)

    def _refuse(self, error: ColdTransferError, request_id: str) -> Response:
        self._telemetry.refused(error)
        return problem.of_error(error, request_id)

    def _respond(self, event: ProxyEvent, context: Any, request_id: str) -> Response:  # noqa: ANN401
        reads = event.get("httpMethod") == "GET"
        if reads:
            self._telemetry.annotate(method="GET")  # a refused GET is not a refused action
        headers = headers_of(event)
        malformed: BodyMalformed | None = None
        try:
            raw = body.read_raw(event.get("body"), bool(event.get("isBase64Encoded")))
        except BodyMalformed as error:
            raw, malformed = b"", error  # raised after authentication: strangers learn nothing
        identity = self._clients.get().authenticate(headers, raw, time.time())
        self._telemetry.annotate(client=identity.client.name)
        if malformed is not None:
            raise malformed
        deadline = deadline_of(context, self._settings.function_timeout_seconds)
        if raw and reads:
            # a signature does not cover the method, so a captured POST's would be valid here
            raise BodyMalformed("a GET must not have a body")
        action_id = looked_up(event)
        if action_id is not None:
            return self._look(action_id, identity)
        if reads:
            return self._read(event, identity, deadline, request_id)
        request = request_of(event, headers, raw, identity)
        self._telemetry.annotate_request(request)
        if not identity.client.may_use(request.action.phlo_id):
            raise PhloNotAllowed("this PHLO is not among the client's phlo_ids")
        if not identity.client.may_request(request.action.name):
            raise ActionNotAllowed("this action is not among the client's actions")
        if request.keyed:
            return self._perform(request, deadline, request_id)
        self._telemetry.count("RequestWithoutKey")
        return problem.without_key(self._perform(request, deadline, request_id))

    def _perform(self, request: ActionRequest, deadline: Deadline, request_id: str) -> Response:
        try:
            answer = self._service.perform(request, deadline)
        except ColdTransferError as error:
            return self._refuse(error, request_id)
        self._telemetry.answered(answer)
        return problem.of_answer(answer)

    def _read(
        self, event: ProxyEvent, identity: Identity, deadline: Deadline, request_id: str
    ) -> Response:
        resource = resource_of(event)
        if not identity.client.may_use(resource.phlo_id):
            raise PhloNotAllowed("this PHLO is not among the client's phlo_ids")
        reading = self._reader.read(resource, deadline)
        self._telemetry.read(reading)
        return problem.of_reading(reading, request_id)

    def _look(self, action_id: str, identity: Identity) -> Response:
        found = self._ledger.look(action_id)
        own = (EntryPoint.WEBHOOK, identity.client.name)
        if found is None or (found[0].entry_point, found[0].client) != own:
            raise ActionNotFound("this client has no such action")
        return problem.response(200, view.of_record(*found), {})


@functools.cache
def _function() -> Webhook:
    return Webhook(deployed(EntryPoint.WEBHOOK))


def handler(event: object, context: Any) -> Response | dict[str, Any]:  # noqa: ANN401  Lambda's own
    """Answer one request of API Gateway's REST proxy integration (payload version 1.0)."""
    return _function()(event, context)


start_up.finish(_function)  # makes no calls and no connections
