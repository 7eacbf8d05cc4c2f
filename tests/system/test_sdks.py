"""Plivo's own SDKs, in their documented way, through the deployed stack.

Each does the same twice: pointed at a server that records, as it would be at Plivo, and pointed at
this system with a client's name and token. Plivo has to see the same requests both times.
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

#: Of plivo-node, what its own code lets happen: its ``member(...)`` has no client in 4.79.0.
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


class Said(NamedTuple):
    """One request as Plivo sees it: a slash at the end of its path, and a query, do not count."""

    method: str
    path: str
    body: Any

    @classmethod
    def of(cls, received: Received) -> "Said":
        path = urlsplit(received.path).path.rstrip("/")
        return cls(received.method, path, json.loads(received.body) if received.body else None)


type Sdk = Callable[[str, ActionName, str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def recorder() -> Iterator[Simulator]:
    """Plivo, as far as an SDK that holds the token can tell."""
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
        pytest.skip(f"{NODE_PACKAGE} cannot be had: {done.stderr[-200:]}")
    (folder / "ask.js").write_text(NODE_SCRIPT)
    return folder


def plivo_python(url: str, name: ActionName, to: str, agent: str) -> dict[str, Any]:
    """As in its README: the PHLO, its node, and then the action."""
    with plivo_sdk.phlo.RestClient(builders.SDK_CLIENT, builders.SDK_TOKEN) as client:
        client.phlo_base_uri = url
        node = client.phlo.get(builders.PHLO_ID).multi_party_call(builders.NODE_ID)
        if name.dials:
            answer = getattr(node, name)(trigger_source=agent, to=to, role="customer")
        else:
            answer = getattr(node.member(agent), name)()
        return {"api_id": answer.api_id, "error": answer.error}


def plivo_node(folder: Path) -> Sdk:
    def ask(url: str, name: ActionName, to: str, agent: str) -> dict[str, Any]:
        addresses = [agent, to, "customer"] if name.dials else [agent]
        given = [url, builders.SDK_CLIENT, builders.SDK_TOKEN, builders.PHLO_ID, builders.NODE_ID]
        done = subprocess.run(  # noqa: S603  a script of ours
            [shutil.which("node") or "node", "ask.js", *given, NODE_CAN[name], *addresses],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        return {"api_id": answer["apiId"], "error": answer["error"]}

    return ask


def both_ways(
    sdk: Sdk, deployment: Deployment, recorder: Simulator, name: ActionName, agent: str
) -> tuple[list[Said], list[Said]]:
    """What Plivo sees of an SDK that is pointed at it, and of one that is pointed here."""
    to = deployment.number()
    recorder.forget()
    sdk(f"{recorder.base_url}/v1", name, to, agent)
    known = len(deployment.plivo.received())

    answer = sdk(deployment.url().partition("/phlo/")[0], name, to, agent)

    assert answer["error"] == ""
    assert answer["api_id"]
    seen = deployment.plivo.received()[known:]
    return [Said.of(each) for each in recorder.received()], [Said.of(each) for each in seen]


@pytest.mark.parametrize("name", ActionName)
def test_plivo_python_does_here_what_it_does_at_plivo(
    deployment: Deployment, recorder: Simulator, name: ActionName
) -> None:
    straight, through = both_ways(plivo_python, deployment, recorder, name, deployment.number())

    assert through == straight
    assert [said.method for said in through] == ["GET", "GET", "POST"]
    assert through[-1].body["action"] == name


@pytest.mark.parametrize("name", [ActionName.COLD_TRANSFER, ActionName.HOLD])
def test_a_sip_endpoint_goes_through_as_well(
    deployment: Deployment, recorder: Simulator, name: ActionName
) -> None:
    endpoint = f"sip:Sdk{name}.Agent123456789012@Phone.Plivo.com".replace("_", "")
    deployment.private.add(endpoint.removeprefix("sip:").partition("@")[0])

    straight, through = both_ways(plivo_python, deployment, recorder, name, endpoint)

    assert through == straight
    assert endpoint in through[-1].path + json.dumps(through[-1].body)


@pytest.mark.parametrize("name", NODE_CAN)
def test_plivo_node_does_here_what_it_does_at_plivo(
    deployment: Deployment, recorder: Simulator, node_modules: Path, name: ActionName
) -> None:
    sdk = plivo_node(node_modules)

    straight, through = both_ways(sdk, deployment, recorder, name, deployment.number())

    assert through == straight
    assert [said.method for said in through] == ["GET", "POST"]
    assert through[-1].body["action"] == name


def test_plivo_python_finds_the_text_of_a_refusal_where_it_looks_for_it(
    deployment: Deployment,
) -> None:
    url = deployment.url().partition("/phlo/")[0]

    with (
        deployment.plivo.rejecting("to is a mandatory param."),
        pytest.raises(plivo_sdk.exceptions.ValidationError, match=r"^to is a mandatory param\.$"),
    ):
        plivo_python(url, ActionName.HOLD, deployment.number(), deployment.number())


def test_a_token_that_is_not_the_clients_is_told_so_to_plivo_python(deployment: Deployment) -> None:
    with plivo_sdk.phlo.RestClient(builders.SDK_CLIENT, "x" * 40) as client:
        client.phlo_base_uri = deployment.url().partition("/phlo/")[0]
        with pytest.raises(plivo_sdk.exceptions.AuthenticationError, match="Authorization"):
            client.phlo.get(builders.PHLO_ID)
