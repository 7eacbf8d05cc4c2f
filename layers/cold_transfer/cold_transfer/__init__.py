"""A cold transfer on a live Plivo PHLO Multi-Party Call, at most once.

Dependencies point inwards: a door (functions/) -> service -> {ledger, plivo, secrets} -> plain
values. Nothing here imports a door, and nothing here knows HTTP requests or EventBridge events
except ``http`` and ``event``, which the doors share with their tests.
"""

__version__ = "0.1.0"
