"""Imported once by the server that workers are forked from; a fork then has all of it."""

import pytest

from tests.fakes import door
from tests.matrix import workers
from tests.matrix.environment import DOORS, dynamodb_client

# boto3 reads its models from files; they are cached by the loader of a session, and the rest of
# what a first client imports stays
dynamodb_client("http://127.0.0.1:9")
MODULES = [workers, *map(door, DOORS)]

# a worker imports its parent's main module anew, which in a test run is pytest's
MODULES.append(pytest)
