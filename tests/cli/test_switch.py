"""`cold-transfer stop` and `start`, where Lambda refuses to change one of the two functions."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support import operating

OUTPUTS = {"WebhookFunctionName": "webhook", "EventFunctionName": "event"}


class Functions:
    """Lambda's client for two functions. The webhook function may not be changed."""

    def __init__(self, concurrency: int | None) -> None:
        self.concurrency: dict[str, int | None] = dict.fromkeys(OUTPUTS.values(), concurrency)

    def get_function(self, *, FunctionName: str) -> dict[str, Any]:  # noqa: N803  boto3's own
        reserved = self.concurrency[FunctionName]
        return {
            "Configuration": {"FunctionArn": f"arn:{FunctionName}"},
            "Concurrency": {} if reserved is None else {"ReservedConcurrentExecutions": reserved},
        }

    def put_function_concurrency(
        self,
        *,
        FunctionName: str,  # noqa: N803  boto3's own
        ReservedConcurrentExecutions: int,  # noqa: N803  boto3's own
    ) -> None:
        self._set(FunctionName, ReservedConcurrentExecutions)

    def delete_function_concurrency(self, *, FunctionName: str) -> None:  # noqa: N803  boto3's own
        self._set(FunctionName, None)

    def tag_resource(self, **_: object) -> None:
        """Accept any tag."""

    untag_resource = tag_resource

    def _set(self, name: str, value: int | None) -> None:
        if name == "webhook":
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "PutFunctionConcurrency")
        self.concurrency[name] = value


@pytest.mark.parametrize(
    ("command", "before", "after", "refused"),
    [("stop", None, 0, "NOT STOPPED"), ("start", 0, None, "NOT STARTED")],
)
def test_a_function_that_cannot_be_changed_does_not_keep_the_other_from_it(
    command: str, before: int | None, after: int | None, refused: str
) -> None:
    functions = Functions(before)
    target = operating.target(operating.Session(**{"lambda": functions}), OUTPUTS)

    ended = operating.run(target, command)

    assert functions.concurrency == {"webhook": before, "event": after}
    assert ended.status == 2
    assert f"webhook: {refused}. " in ended.out
    assert "From now on" not in ended.out
