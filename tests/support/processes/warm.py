"""Imported once by the server that workers are forked from; a fork then has all of it."""

import pytest

from tests.support.fakes import entry_point
from tests.support.processes import workers
from tests.support.processes.environment import ENTRY_POINTS, dynamodb_client

# boto3 reads its models from files; they are cached by the loader of a session, and the rest of
# what a first client imports stays
dynamodb_client("http://127.0.0.1:9")
MODULES = [workers, *map(entry_point, ENTRY_POINTS)]

# a worker imports its parent's main module anew, which in a test run is pytest's
MODULES.append(pytest)
