"""A cold transfer on a live Plivo PHLO Multi-Party Call, at most once.

Dependencies point inwards: a door (functions/) -> service -> {ledger, plivo, secrets} -> plain
values. Nothing here imports a door; what a door needs to read its requests is in
``webhook_request`` and ``event_request``, and only they know HTTP and EventBridge.
"""

__version__ = "0.1.0"
