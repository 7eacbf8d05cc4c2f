"""The kill switch: a function whose reserved concurrency is 0 cannot be invoked.

A tag of the function keeps the previous value, so that anyone can restore it.
"""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cold_transfer_cli.failures import sentence

TAG = "cold-transfer:reserved-concurrency-before-stop"
_NONE = "none"


def stop(client: Any, function: str) -> str:  # noqa: ANN401  boto3 types its clients so
    """Stop a function, then record its previous concurrency; returns what was done."""
    found = client.get_function(FunctionName=function)
    before = _reserved(found)
    if before == 0:
        return "already stopped"
    client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    noted = _NONE if before is None else str(before)
    try:
        client.tag_resource(Resource=found["Configuration"]["FunctionArn"], Tags={TAG: noted})
    except (BotoCoreError, ClientError) as error:
        return f"stopped. Write down its reserved concurrency, {noted}: {sentence(error)}"
    return "stopped"


def start(client: Any, function: str, default: str) -> bool:  # noqa: ANN401  as above
    """Restore a stopped function's concurrency; returns whether it was stopped.

    default
        The template's reserved concurrency, used if no previous value was recorded; 0 for none.
    """
    found = client.get_function(FunctionName=function)
    if _reserved(found) != 0:
        return False
    before = found.get("Tags", {}).get(TAG, _NONE if default == "0" else default)
    if before == _NONE:
        client.delete_function_concurrency(FunctionName=function)
    else:
        client.put_function_concurrency(
            FunctionName=function, ReservedConcurrentExecutions=int(before)
        )
    client.untag_resource(Resource=found["Configuration"]["FunctionArn"], TagKeys=[TAG])
    return True


def _reserved(found: dict[str, Any]) -> int | None:
    reserved: int | None = found.get("Concurrency", {}).get("ReservedConcurrentExecutions")
    return reserved
