"""The built artifact as it is deployed: its imports, its bytecode, its size, its start-up."""

import json
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.build import ROOT
from tests.support import artifact

each_function = pytest.mark.parametrize("function", artifact.FUNCTIONS)

#: Each takes a large part of a start-up, and nothing here needs it.
UNWANTED = (
    "asyncio",
    "aws_lambda_powertools.event_handler",
    "aws_lambda_powertools.utilities.data_classes",
    "aws_lambda_powertools.utilities.idempotency",
    "aws_lambda_powertools.utilities.parameters",
    "aws_lambda_powertools.utilities.parser",
    "aws_lambda_powertools.utilities.validation",
    "aws_xray_sdk",
    "awscrt",
    "cryptography",
    "jsonschema",
    "plivo",
    "pydantic",
    "requests",
    "sqlite3",
    "unittest",
)

#: A function that sends nothing needs neither secrets nor Plivo.
OF_ENTRY_POINTS = ("cold_transfer.plivo.client", "cold_transfer.aws.secrets", "fastjsonschema")
UNWANTED_BEHIND = {"Reconcile": OF_ENTRY_POINTS, "Outcomes": OF_ENTRY_POINTS}

#: About 35 above today's number: an update may add a few modules, a new dependency adds more.
MOST_MODULES = 510

MOST_BYTES = 6_000_000


@pytest.fixture(scope="session")
def shipped(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build as it is in Lambda: unpacked from SAM's zip, dated 1980, and read-only."""
    there = tmp_path_factory.mktemp("lambda")
    for part in (*(f"{name}Function" for name in artifact.FUNCTIONS), artifact.LAYER):
        with zipfile.ZipFile(there / f"{part}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted((build / part).rglob("*")):
                if path.is_file():
                    entry = zipfile.ZipInfo(str(path.relative_to(build)), (1980, 1, 1, 0, 0, 0))
                    archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
        with zipfile.ZipFile(there / f"{part}.zip") as archive:
            archive.extractall(there)
    for path in list(there.iterdir()):
        for one in [path, *path.rglob("*")]:
            os.utime(one, (315_532_800, 315_532_800))
            one.chmod(0o555 if one.is_dir() else 0o444)
    return there


@each_function
def test_a_function_imports_nothing_unnecessary(shipped: Path, function: str) -> None:
    program = "import app, json, sys; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(artifact.run(shipped, function, program))

    unwanted = (*UNWANTED, *UNWANTED_BEHIND.get(function, ()))
    found = [name for name in loaded for no in unwanted if name == no or name.startswith(f"{no}.")]
    assert found == []
    assert "cold_transfer.telemetry" in loaded
    assert len(loaded) <= MOST_MODULES


@each_function
def test_no_module_is_compiled_again(shipped: Path, function: str) -> None:
    program = """if True:
        import sys
        compiled = []
        sys.addaudithook(lambda name, at: name == "compile" and compiled.append(at[1]))
        import app
        print(*(name for name in compiled if str(name).endswith(".py")), sep="\\n")
    """
    assert artifact.run(shipped, function, program).split() == []


def test_every_distribution_comes_with_the_text_of_its_licence(shipped: Path) -> None:
    distributions = list((shipped / artifact.LAYER).glob("python/*.dist-info"))

    assert len(distributions) > 5
    for each in distributions:
        names = [path.name.lower() for path in each.rglob("*") if path.is_file()]
        assert any(name.startswith(("licen", "copying")) for name in names), each.name


@each_function
def test_a_function_with_its_layer_is_small(shipped: Path, function: str) -> None:
    parts = (f"{function}Function", artifact.LAYER)

    assert sum((shipped / f"{part}.zip").stat().st_size for part in parts) <= MOST_BYTES


def test_an_unchanged_tree_builds_the_same_bytes(build: Path, tmp_path: Path) -> None:
    def made(folder: str, target: str) -> dict[str, bytes]:
        source, out = tmp_path / folder, tmp_path / target
        shutil.copytree(ROOT / folder, source, dirs_exist_ok=True)
        out.mkdir()
        search = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        subprocess.run(  # noqa: S603  the Makefile's rule, as sam build runs it
            ["make", f"build-{target}", f"ARTIFACTS_DIR={out}"],  # noqa: S607
            cwd=source,
            env={**os.environ, "PATH": search},
            capture_output=True,
            check=True,
        )
        return content(out)

    def content(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    for folder, target in (
        ("layers/cold_transfer", artifact.LAYER),
        ("functions", "WebhookFunction"),
    ):
        first, second = content(build / target), made(folder, target)
        assert first.keys() == second.keys()
        assert [name for name, data in first.items() if second[name] != data] == []


# Start-up


@each_function
def test_the_garbage_collector_is_on_and_skips_the_objects_of_init(
    shipped: Path, function: str
) -> None:
    program = "import app, gc; print(gc.isenabled(), gc.get_freeze_count() > len(gc.get_objects()))"

    assert artifact.run(shipped, function, program) == "True True\n"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Accepts connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


def connected(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


CALL = """
import socket
socket.setdefaulttimeout(0.1)
try:
    app.handler({"multiValueHeaders": {}}, None)
except Exception:
    pass
"""


def test_init_builds_everything_and_connects_nowhere(
    shipped: Path, listener: socket.socket
) -> None:
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    environment = {"AWS_ENDPOINT_URL": address, "PLIVO_BASE_URL": address}
    init = "import app; print(app._function.cache_info().currsize)"

    assert artifact.run(shipped, "Webhook", init, environment=environment) == "1\n"
    assert not connected(listener)
    artifact.run(shipped, "Webhook", init + CALL, environment=environment)
    assert connected(listener)
