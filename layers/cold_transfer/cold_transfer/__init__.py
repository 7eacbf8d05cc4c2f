"""A cold transfer on a live Plivo PHLO Multi-Party Call, at most once.

Dependencies point inwards: functions/ -> ``entrypoints`` -> ``service`` -> {``ledger``, ``plivo``,
``auth``, ``aws``} -> plain values. Nothing here imports a function, and only ``entrypoints`` knows
API Gateway, HTTP and EventBridge.
"""

import gc
import os

__version__ = "0.1.0"

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    # Next to nothing of what imports make is garbage, and looking for it took a tenth of a
    # function's start-up. ``start_up.finish`` turns the collector on again.
    gc.disable()
