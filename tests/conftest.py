"""How long the property tests look: HYPOTHESIS_PROFILE=long for the long form."""

import os

from hypothesis import HealthCheck, settings

# The time of one example says nothing here: other work shares the machine's cores.
_COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("short", _COMMON, max_examples=100, stateful_step_count=40)
settings.register_profile("long", _COMMON, max_examples=2_500, stateful_step_count=60)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))
