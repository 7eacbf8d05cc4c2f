"""Actions on live Plivo PHLO Multi-Party Calls, each sent at most once.

Dependencies point inwards: functions/ -> ``entrypoints`` -> ``service`` -> {``ledger``, ``plivo``,
``auth``, ``aws``} -> plain values. Nothing here imports a function, and only ``entrypoints`` knows
API Gateway, HTTP and EventBridge.
"""

import gc
import os

__version__ = "0.1.0"

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    # Imports produce almost no garbage, and collecting it took a tenth of a function's start-up.
    # ``start_up.finish`` turns the collector back on.
    gc.disable()
