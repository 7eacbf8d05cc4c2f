"""The end of a function's start-up, which began with the import of this package."""

import gc
import os
from collections.abc import Callable


def finish(build: Callable[[], object]) -> None:
    """In Lambda, call ``build`` at init, where a function has a full CPU.

    Then turn the garbage collector on. It ignores everything made until now, which lives as long
    as the process.
    """
    if "AWS_LAMBDA_FUNCTION_NAME" not in os.environ:
        return
    try:
        build()
    finally:
        gc.freeze()
        gc.enable()
