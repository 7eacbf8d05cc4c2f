"""A peer of ``make bench``: the same webhook, written the way that tutorials show it.

Powertools from end to end (resolver with validation, parser, idempotency, parameters, auto-patched
tracer, logger, metrics), boto3 and Plivo's SDK. Two lines are not a tutorial's: where Plivo is, and
which roots to trust there, because a bench answers in its place.
"""

import os
from functools import cache
from typing import Annotated, Any, Literal
from uuid import UUID

import plivo  # type: ignore[import-untyped]  # it ships no types
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.event_handler.exceptions import UnauthorizedError
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities import parameters
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent,
)
from aws_lambda_powertools.utilities.parser import BaseModel, Field
from aws_lambda_powertools.utilities.typing import LambdaContext

Address = Annotated[str, Field(pattern=r"^(\+[1-9]\d{6,14}|sips?:[^\s@]+@[^\s@]+)$")]


class ColdTransfer(BaseModel):
    to: Address
    trigger_source: Address
    role: Literal["agent", "customer"] = "agent"
    action: Literal["cold_transfer"] = "cold_transfer"


class Transferred(BaseModel):
    api_id: str
    error: str = ""


logger = Logger()
tracer = Tracer()
metrics = Metrics()
app = APIGatewayRestResolver(enable_validation=True)
persistence = DynamoDBPersistenceLayer(table_name=os.environ["IDEMPOTENCY_TABLE"])
config = IdempotencyConfig(event_key_jmespath='headers."Idempotency-Key"')


@cache
def plivo_client() -> Any:  # noqa: ANN401  the SDK has no types
    secret: Any = parameters.get_secret(os.environ["PLIVO_SECRET_NAME"], transform="json")
    made = plivo.phlo.RestClient(auth_id=secret["auth_id"], auth_token=secret["auth_token"])
    made.phlo_base_uri = f"{os.environ['PLIVO_BASE_URL']}/v1"
    made.session.verify = os.environ.get("SSL_CERT_FILE") or True
    return made


@tracer.capture_method
def authenticate(authorization: str) -> str:
    secret: Any = parameters.get_secret(os.environ["CLIENTS_SECRET_NAME"], transform="json")
    for name, client in secret["clients"].items():
        if authorization.removeprefix("Bearer ") in client["tokens"]:
            return str(name)
    raise UnauthorizedError("no such client")


@app.post("/v1/phlo/<phlo_id>/multi_party_call/<node_id>")
@tracer.capture_method
def cold_transfer(phlo_id: UUID, node_id: UUID, action: ColdTransfer) -> tuple[Transferred, int]:
    client = authenticate(app.current_event.headers["Authorization"])
    answer = plivo_client().phlo.multi_party_call(
        phlo_id=str(phlo_id),
        node_id=str(node_id),
        action="cold_transfer",
        trigger_source=action.trigger_source,
        to=action.to,
        role=action.role,
    )
    metrics.add_metric(name="ActionAccepted", unit=MetricUnit.Count, value=1)
    logger.info("action accepted", client=client, api_id=answer.api_id)
    return Transferred(api_id=answer.api_id, error=answer.error), 201


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_REST)
@tracer.capture_lambda_handler
@metrics.log_metrics(capture_cold_start_metric=True)
@idempotent(config=config, persistence_store=persistence)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return app.resolve(event, context)
