import warnings
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local import daemons
from local.emulator import REGION, start_emulator
from tests.ledgers import create_table


@pytest.fixture(scope="session")
def endpoint_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The AWS emulator, on a free port of loopback."""
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "tmp").mkdir()
    try:
        with warnings.catch_warnings():
            # Popen warns when it is dropped before its process ended; this one is found by its
            # lock file, by whoever stops it.
            warnings.simplefilter("ignore", ResourceWarning)
            endpoint = start_emulator(folder, trace_port=9, auth=False, usual_port=False)
        yield endpoint
    finally:
        daemons.stop(daemons.found_in(folder))


@pytest.fixture(scope="session")
def aws(endpoint_url: str) -> Any:
    """Makes clients of the emulator, which retry nothing by themselves."""
    session = boto3.Session("test", "test", region_name=REGION)

    def client(service: str, **config: Any) -> Any:
        make: Any = session.client
        return make(
            service,
            endpoint_url=endpoint_url,
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=64, **config),
        )

    return client


@pytest.fixture(scope="session")
def dynamodb(aws: Any) -> Any:
    return aws("dynamodb")


@pytest.fixture
def table(dynamodb: Any) -> str:
    return create_table(dynamodb)
