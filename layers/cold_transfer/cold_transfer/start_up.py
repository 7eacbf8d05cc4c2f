"""The end of a function's start-up, which begins with the import of this package."""

import gc
import os
from collections.abc import Callable


def finish(build: Callable[[], object]) -> None:
    """In Lambda, ``build`` at init, where a function has a full CPU, rather than when it is called.

    What init made is there to stay: the garbage collector, which was off until now, is not going
    to look at it.
    """
    if "AWS_LAMBDA_FUNCTION_NAME" not in os.environ:
        return
    try:
        build()
    finally:
        gc.freeze()
        gc.enable()
