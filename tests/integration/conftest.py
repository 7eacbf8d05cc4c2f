import functools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local import daemons
from local.build import build as sam_build
from local.emulator import REGION, start_emulator
from local.progress import Progress
from tests.support.ledgers import create_table
from tests.support.moto import start_moto


@pytest.fixture(scope="session")
def endpoint_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The AWS emulator, on a free port of loopback."""
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "tmp").mkdir()
    try:
        with warnings.catch_warnings():
            # Popen warns if it is dropped while its process runs; stop() finds this process by
            # its lock file.
            warnings.simplefilter("ignore", ResourceWarning)
            endpoint = start_emulator(folder, trace_port=9, auth=False, usual_port=False)
        yield endpoint
    finally:
        daemons.stop(daemons.found_in(folder))


def _client(url: str, service: str, **config: Any) -> Any:
    """A client without retries."""
    make: Any = boto3.Session("test", "test", region_name=REGION).client
    return make(
        service,
        endpoint_url=url,
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=64, **config),
    )


@pytest.fixture(scope="session")
def aws(endpoint_url: str) -> Any:
    """Makes clients of the emulator."""
    return functools.partial(_client, endpoint_url)


@pytest.fixture(scope="session")
def dynamodb(aws: Any) -> Any:
    return aws("dynamodb")


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of moto's DynamoDB, which shares no code with the emulator's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # as above
        url, server = start_moto(tmp_path_factory.mktemp("moto"))
    yield _client(url, "dynamodb")
    daemons.stop([server])


@pytest.fixture(scope="session")
def build() -> Path:
    """The folder of the built artifact."""
    return sam_build(Progress()).parent


@pytest.fixture
def table(dynamodb: Any) -> str:
    return create_table(dynamodb)
