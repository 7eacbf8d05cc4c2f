"""Imported once by the server that the workers are forked from, so that no worker imports it."""

import pytest

from tests.support.fakes import entry_point
from tests.support.processes import workers
from tests.support.processes.environment import ENTRY_POINTS, dynamodb_client

# The first client reads botocore's models from files and imports further modules.
dynamodb_client("http://127.0.0.1:9")
MODULES = [workers, *map(entry_point, ENTRY_POINTS)]

# A worker imports its parent's main module, which in a test run is pytest's.
MODULES.append(pytest)
