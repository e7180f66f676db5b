"""Hypothesis: 100 derandomised examples by default, `--hypothesis-profile long` by hand. No deadline: the JIT."""

from hypothesis import HealthCheck, settings

settings.register_profile("default", max_examples=100, derandomize=True, deadline=None, database=None)
settings.register_profile("long", max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("default")
