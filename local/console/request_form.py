"""The console's form: as a request, as shell commands to copy, and sent to the stack."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

from cold_transfer.entrypoints.problem import TYPE_PREFIX
from local.console import stack_access
from local.console.stack_access import CALL_ACTIONS, ENTRY_POINTS, MEMBER_ACTIONS, StackAccess
from local.sender import SDK_CLIENTS, headers_of, post

#: Thirty requests at once cause thirty cold starts, which share the machine's cores.
PATIENCE_SECONDS = 100.0

#: What to do, by outcome; for answers without their own text.
ADVICE = {
    "accepted": "Plivo acknowledged it. Plivo never says whether the call was moved.",
    "rejected": "Plivo refused it: nothing happened to the call. Correct it and use a new key.",
    "not_sent": "Nothing was sent. The same key may be sent again.",
    "unknown": "It may have happened. Check the call before you send it again with a new key.",
}
REPLAYED = "Answered from the ledger: nothing was sent to Plivo."
DEAD_LETTER = "The invocation failed, so the event went to the dead-letter queue."

#: Shell that sets ``signature`` from ``id``, ``timestamp``, ``body`` and ``secret``
#: (docs/signing.md).
_SIGN = r"""
key=$(printf %s "${secret#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
signature=$(printf %s "$id.$timestamp.$body" |
  openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)
"""


class FormInvalid(Exception):
    """The form cannot be sent. What only the stack would refuse can: the page shows its answer."""


@dataclass(frozen=True, slots=True)
class RequestForm:
    """A completed form. ``fields`` has only the fields of its action.

    client
        The webhook's client; the client of all events is the stack's ``event_source``.
    """

    entry_point: str
    client: str
    key: str
    fields: Mapping[str, str]


def read(form: Mapping[str, object], access: StackAccess) -> RequestForm:
    """Read the form's fields, which have the names of their labels.

    Raises
    ------
    FormInvalid
        A choice is not one of those offered, or the ids are missing.
    """
    given = {name: value for name, value in form.items() if isinstance(value, str)}
    entry_point, action = given.get("entry_point"), given.get("action")
    client = given.get("client", "")
    if entry_point not in ENTRY_POINTS or action not in (*CALL_ACTIONS, *MEMBER_ACTIONS):
        raise FormInvalid("choose an entry point and an action")
    if client not in access.clients:
        raise FormInvalid("choose a client")
    names = ["phlo_id", "node_id", "action"]
    names += ["member_address"] if action in MEMBER_ACTIONS else ["to", "role", "trigger_source"]
    fields = {name: given.get(name, "").strip() for name in names}
    if not fields["phlo_id"] or not fields["node_id"]:
        raise FormInvalid("phlo_id and node_id are part of the URL: fill them in")
    if given.get("reference"):
        fields["reference"] = given["reference"]
    return RequestForm(entry_point, client, given.get("Idempotency-Key", "").strip(), fields)


def body_of(form: RequestForm) -> str:
    """The webhook's body: the fields that are not in the path."""
    ids = ("phlo_id", "node_id", "member_address")
    return json.dumps({name: value for name, value in form.fields.items() if name not in ids})


def detail_of(form: RequestForm) -> dict[str, str]:
    """The event's detail: everything but the action, which the detail-type names."""
    detail = {name: value for name, value in form.fields.items() if name != "action"}
    return {**detail, "idempotency_key": form.key} if form.key else detail


def curl(form: RequestForm, access: StackAccess) -> str:
    """A command for a shell in the repository's folder; reads the credential from stack.json."""
    client = form.client
    *path, kind = access.in_stack_json(client)
    place = "".join(f'["{name}"]' for name in (*path, kind))
    credential = (
        f"""$(python3 -c 'import json; print(json.load(open(".local/stack.json")){place})')"""
    )
    body = shlex.quote(body_of(form))
    parts = ["curl -i", shlex.quote(access.url(form.fields))]
    if kind == "signing_secret":
        message_id = shlex.quote(form.key) if form.key else '"msg_$(openssl rand -hex 16)"'
        lines = [
            f"id={message_id} timestamp=$(date +%s) body={body}",
            f'secret="{credential}"',
            _SIGN.strip(),
        ]
        parts += ['-H "webhook-id: $id"', '-H "webhook-timestamp: $timestamp"']
        parts += ['-H "webhook-signature: v1,$signature"']
        body = '"$body"'
    else:
        lines = []
        basic = client.startswith(SDK_CLIENTS)
        parts += [
            f'-u "{client}:{credential}"' if basic else f'-H "Authorization: Bearer {credential}"'
        ]
        parts += [f"-H {shlex.quote(f'Idempotency-Key: {form.key}')}"] if form.key else []
    parts += ["-H 'Content-Type: application/json'", f"--data-raw {body}"]
    return "\n".join([*lines, " \\\n  ".join(parts)])


def put_events(form: RequestForm, access: StackAccess) -> str:
    """A command for any shell with the AWS CLI."""
    where = f"AWS_ENDPOINT_URL={access.aws_endpoint_url} AWS_DEFAULT_REGION={access.aws_region}"
    entries = json.dumps([access.event(form.fields["action"], detail_of(form))])
    return (
        f"{where} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test \\\n"
        f"  aws events put-events --entries {shlex.quote(entries)}"
    )


class Sender:
    """Sends the console's requests; each method waits for the answer."""

    def __init__(self, access: StackAccess) -> None:
        self._access = access
        self._http = urllib3.PoolManager(maxsize=50, retries=False)
        self._events = access.aws("events")

    def post(self, form: RequestForm) -> dict[str, Any]:
        """Post to the webhook; returns the answer and what was read from it.

        If there is no answer, the status is 0 and the body names the error.
        """
        url, body = self._access.url(form.fields), body_of(form)
        headers = headers_of(form.client, form.key, body)
        try:
            exchange = post(self._http, url, headers, body, PATIENCE_SECONDS)
        except urllib3.exceptions.HTTPError as error:
            return {**_read(0, {}, ""), "body": f"no answer: {type(error).__name__}"}
        answer = _read(exchange.status, exchange.answer_headers, exchange.answer)
        return {**answer, "milliseconds": round(exchange.milliseconds, 1)}

    def put(self, form: RequestForm) -> dict[str, Any]:
        """Put the event on the bus; returns its id, and the bus's answer as JSON text."""
        entry = self._access.event(form.fields["action"], detail_of(form))
        reply = self._events.put_events(Entries=[entry])["Entries"][0]
        return {"event_id": reply.get("EventId", ""), "body": json.dumps(reply)}

    def make_call(self) -> Any:  # noqa: ANN401  JSON of the simulator's
        """Have the simulator make a new call with a customer and an agent."""
        return self._http.request("POST", f"{self._access.plivo_base_url}/_calls").json()

    def close(self) -> None:
        self._http.clear()
        self._events.close()


def _read(status: int, headers: Mapping[str, str], body: str) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    members: dict[str, Any] = parsed if isinstance(parsed, dict) else {}
    cause = str(members.get("type", "")).removeprefix(TYPE_PREFIX)
    if "type" not in members and headers.get(stack_access.ACTION_ID):
        cause = "accepted"
    instance = str(members.get("instance", ""))
    return {
        "status": status,
        "headers": dict(headers),
        "body": body,
        "action_id": headers.get(stack_access.ACTION_ID, ""),
        "duplicate_of": headers.get(stack_access.DUPLICATE_OF, ""),
        "replayed": headers.get(stack_access.REPLAYED) == "true",
        "outcome": stack_access.outcome_of(cause),
        "cause": cause,
        "correlation_id": instance.removeprefix("urn:uuid:") if "uuid" in instance else "",
        "advice": str(members.get("detail") or members.get("message") or ""),
    }
