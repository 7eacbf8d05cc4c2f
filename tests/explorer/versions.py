"""Processes that run another version of the code.

The code knows one version of the fingerprint. Another version writes another number, and perhaps
another hash. Both are exchanged on the way to the table and back, so that the same code reads the
records of its pretended version as its own, and those of version 1 as another's.
"""

from typing import Any

from botocore.exceptions import ClientError

#: The other versions: one with the same hashes as version 1, and one with others, which recognises
#: no content of version 1.
SAME_HASH, OTHER_HASH = 2, 3


class Translated:
    """``client`` as a process of ``version`` sees it."""

    def __init__(self, client: Any, version: int) -> None:
        self._client = client
        self._numbers = {"1": str(version), str(version): "1"}
        self._hashes_differ = version == OTHER_HASH

    def get_item(self, **arguments: Any) -> Any:
        return self._reply(self._client.get_item(**self._sent(arguments)))

    def put_item(self, **arguments: Any) -> Any:
        return self._refused(self._client.put_item, arguments)

    def update_item(self, **arguments: Any) -> Any:
        return self._refused(self._client.update_item, arguments)

    def query(self, **arguments: Any) -> Any:
        return self._client.query(**arguments)

    def _refused(self, call: Any, arguments: dict[str, Any]) -> Any:
        try:
            return self._reply(call(**self._sent(arguments)))
        except ClientError as error:
            response: dict[str, Any] = dict(error.response)
            if "Item" in response:
                response["Item"] = self._exchanged(response["Item"])
            raise ClientError(response, error.operation_name) from None  # type: ignore[arg-type]  # the stub does not know Item

    def _sent(self, arguments: dict[str, Any]) -> dict[str, Any]:
        sent = dict(arguments)
        for name in ("Key", "Item", "ExpressionAttributeValues"):
            if name in sent:
                sent[name] = self._exchanged(sent[name])
        return sent

    def _reply(self, reply: dict[str, Any]) -> dict[str, Any]:
        found = dict(reply)
        for name in ("Item", "Attributes"):
            if name in found:
                found[name] = self._exchanged(found[name])
        return found

    def _exchanged(self, item: dict[str, Any]) -> dict[str, Any]:
        """Attributes, or values of an expression, as the other side writes them."""
        changed = dict(item)
        if "fp_version" in changed:
            number = changed["fp_version"]["N"]
            changed["fp_version"] = {"N": self._numbers.get(number, number)}
        if self._hashes_differ:
            if "fp" in changed:
                changed["fp"] = {"S": changed["fp"]["S"][::-1]}
            if changed.get("pk", {}).get("S", "").startswith("C#"):
                changed["pk"] = {"S": f"C#{changed['pk']['S'][:1:-1]}"}
        return changed
