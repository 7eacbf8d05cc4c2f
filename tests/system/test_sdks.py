"""Plivo's own SDKs, used as documented, through the deployed stack.

Each SDK runs twice: against a simulator that replaces Plivo, and against this system, with the name
and token of a client. Plivo must receive the same requests both times.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import plivo as plivo_sdk  # type: ignore[import-untyped]  # the SDK has no types
import pytest

from cold_transfer.action import ActionName
from local.simulator import Received, Simulator
from tests.support import builders
from tests.system.deployment import Deployment

#: The actions that work in plivo-node 4.79.0, whose ``member(...)`` is broken: it has no client.
NODE_CAN = {
    ActionName.COLD_TRANSFER: "coldTransfer",
    ActionName.WARM_TRANSFER: "warmTransfer",
    ActionName.CALL: "call",
    ActionName.ABORT_TRANSFER: "abortTransfer",
}

NODE_PACKAGE = "plivo@4.79.0"
NODE_SCRIPT = """
const { PhloClient } = require("plivo");
const [url, id, token, phlo, node, action, ...addresses] = process.argv.slice(2);
(async () => {
  const client = new PhloClient(id, token, { url });
  await client.phlo.get(phlo);
  const answer = await client.phlo(phlo).multiPartyCall(node)[action](...addresses);
  console.log(JSON.stringify(answer));
})().catch((error) => { console.error(error); process.exit(1); });
"""


class Seen(NamedTuple):
    """A request as Plivo sees it, without a trailing slash and a query."""

    method: str
    path: str
    body: Any

    @classmethod
    def of(cls, received: Received) -> "Seen":
        path = urlsplit(received.path).path.rstrip("/")
        return cls(received.method, path, json.loads(received.body) if received.body else None)


type Sdk = Callable[[str, ActionName, str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def recorder() -> Iterator[Simulator]:
    """Replaces Plivo for an SDK that has the token."""
    with Simulator(auth=(builders.SDK_CLIENT, builders.SDK_TOKEN)) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    folder = tmp_path_factory.mktemp("node")
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), NODE_PACKAGE]
    done = subprocess.run(  # noqa: S603  a package of a fixed name
        command, capture_output=True, text=True, timeout=110, check=False
    )
    if done.returncode:
        pytest.skip(f"{NODE_PACKAGE} cannot be installed: {done.stderr[-200:]}")
    (folder / "request.js").write_text(NODE_SCRIPT)
    return folder


def plivo_python(url: str, name: ActionName, to: str, agent: str) -> dict[str, Any]:
    """As in its README: get the PHLO and its node, then request the action."""
    with plivo_sdk.phlo.RestClient(builders.SDK_CLIENT, builders.SDK_TOKEN) as client:
        client.phlo_base_uri = url
        node = client.phlo.get(builders.PHLO_ID).multi_party_call(builders.NODE_ID)
        if name.dials:
            answer = getattr(node, name)(trigger_source=agent, to=to, role="customer")
        else:
            answer = getattr(node.member(agent), name)()
        return {"api_id": answer.api_id, "error": answer.error}


def plivo_node(folder: Path) -> Sdk:
    def request(url: str, name: ActionName, to: str, agent: str) -> dict[str, Any]:
        addresses = [agent, to, "customer"] if name.dials else [agent]
        arguments = [
            url,
            builders.SDK_CLIENT,
            builders.SDK_TOKEN,
            builders.PHLO_ID,
            builders.NODE_ID,
        ]
        done = subprocess.run(  # noqa: S603  a script of ours
            [shutil.which("node") or "node", "request.js", *arguments, NODE_CAN[name], *addresses],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        return {"api_id": answer["apiId"], "error": answer["error"]}

    return request


def both_ways(
    sdk: Sdk, deployment: Deployment, recorder: Simulator, name: ActionName, agent: str
) -> tuple[list[Seen], list[Seen]]:
    """What Plivo sees of an SDK that talks to it, and of one that talks to this system."""
    to = deployment.number()
    recorder.forget()
    sdk(f"{recorder.base_url}/v1", name, to, agent)
    known = len(deployment.plivo.received())

    answer = sdk(deployment.url().partition("/phlo/")[0], name, to, agent)

    assert answer["error"] == ""
    assert answer["api_id"]
    seen = deployment.plivo.received()[known:]
    return [Seen.of(each) for each in recorder.received()], [Seen.of(each) for each in seen]


@pytest.mark.parametrize("name", ActionName)
def test_plivo_python_leads_to_the_same_requests_at_plivo(
    deployment: Deployment, recorder: Simulator, name: ActionName
) -> None:
    straight, through = both_ways(plivo_python, deployment, recorder, name, deployment.number())

    assert through == straight
    assert [request.method for request in through] == ["GET", "GET", "POST"]
    assert through[-1].body["action"] == name


@pytest.mark.parametrize("name", [ActionName.COLD_TRANSFER, ActionName.HOLD])
def test_a_sip_endpoint_is_passed_on_unchanged(
    deployment: Deployment, recorder: Simulator, name: ActionName
) -> None:
    endpoint = f"sip:Sdk{name}.Agent123456789012@Phone.Plivo.com".replace("_", "")
    deployment.private.add(endpoint.removeprefix("sip:").partition("@")[0])

    straight, through = both_ways(plivo_python, deployment, recorder, name, endpoint)

    assert through == straight
    assert endpoint in through[-1].path + json.dumps(through[-1].body)


@pytest.mark.parametrize("name", NODE_CAN)
def test_plivo_node_leads_to_the_same_requests_at_plivo(
    deployment: Deployment, recorder: Simulator, node_modules: Path, name: ActionName
) -> None:
    sdk = plivo_node(node_modules)

    straight, through = both_ways(sdk, deployment, recorder, name, deployment.number())

    assert through == straight
    assert [request.method for request in through] == ["GET", "POST"]
    assert through[-1].body["action"] == name


def test_plivo_python_raises_the_text_of_a_refusal(
    deployment: Deployment,
) -> None:
    url = deployment.url().partition("/phlo/")[0]

    with (
        deployment.plivo.rejecting("to is a mandatory param."),
        pytest.raises(plivo_sdk.exceptions.ValidationError, match=r"^to is a mandatory param\.$"),
    ):
        plivo_python(url, ActionName.HOLD, deployment.number(), deployment.number())


def test_plivo_python_raises_an_authentication_error_for_a_wrong_token(
    deployment: Deployment,
) -> None:
    with plivo_sdk.phlo.RestClient(builders.SDK_CLIENT, "x" * 40) as client:
        client.phlo_base_uri = deployment.url().partition("/phlo/")[0]
        with pytest.raises(plivo_sdk.exceptions.AuthenticationError, match="Authorization"):
            client.phlo.get(builders.PHLO_ID)
