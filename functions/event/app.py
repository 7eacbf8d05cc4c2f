"""The event entry point: carries out the action that an EventBridge event requests.

Raises unless the action is accepted. Lambda then sends the whole event to the dead-letter queue:
nothing is lost, and nothing is retried.
"""

import functools
from typing import Any

from cold_transfer import start_up
from cold_transfer.action import EntryPoint
from cold_transfer.auth.clients import Client
from cold_transfer.causes import Outcome
from cold_transfer.deadline import now_ms
from cold_transfer.entrypoints.components import Components, deployed
from cold_transfer.entrypoints.event_request import request_of
from cold_transfer.entrypoints.invocation import (
    correlation_id,
    deadline_of,
    member,
    self_checked,
)
from cold_transfer.errors import (
    ActionFailed,
    ActionNotAllowed,
    ColdTransferError,
    InProgress,
    PhloNotAllowed,
)


class EventFunction:
    def __init__(self, components: Components) -> None:
        self._telemetry = components.telemetry
        self._service = components.service
        self._settings = chosen = components.settings
        self._client = Client(
            chosen.event_source, chosen.event_phlo_ids or None, chosen.event_actions
        )

    def __call__(self, event: object, context: Any) -> dict[str, Any]:  # noqa: ANN401
        with self._telemetry.invocation(correlation_id(member(event, "id"))):
            report = self_checked(event, EntryPoint.EVENT)
            if report is not None:
                return report
            try:
                return self._perform(event, context)
            except ActionFailed:
                raise  # counted already
            except ColdTransferError as error:
                self._telemetry.refused(error)
                raise

    def _perform(self, event: object, context: Any) -> dict[str, Any]:  # noqa: ANN401
        settings, telemetry = self._settings, self._telemetry
        request = request_of(event, settings.event_source, now_ms=now_ms())
        telemetry.annotate_request(request)
        if not self._client.may_use(request.action.phlo_id):
            raise PhloNotAllowed("this PHLO is not in EventPhloIds")
        if not self._client.may_request(request.action.name):
            raise ActionNotAllowed("this action is not in EventActions")
        deadline = deadline_of(context, settings.function_timeout_seconds)
        try:
            answer = self._service.perform(request, deadline)
        except InProgress as error:
            if error.same_delivery:  # the attempt in progress reports the outcome
                telemetry.refused(error)
                return {"action_id": error.action_id, "outcome": None}
            raise
        telemetry.answered(answer)
        verdict = answer.verdict
        if verdict.outcome is not Outcome.ACCEPTED:
            raise ActionFailed(verdict.cause, answer.action_id, verdict.outcome)
        return {
            "action_id": answer.action_id,
            "outcome": verdict.outcome,
            "status": verdict.status,
            "api_id": verdict.api_id,
            "replayed": answer.replayed,
            "duplicate_of": answer.duplicate_of,
        }


@functools.cache
def _function() -> EventFunction:
    return EventFunction(deployed(EntryPoint.EVENT))


def handler(event: object, context: Any) -> dict[str, Any]:  # noqa: ANN401  Lambda's own
    """Perform the action of one event; raises ``ColdTransferError`` unless it is accepted."""
    return _function()(event, context)


start_up.finish(_function)  # makes no calls and no connections
