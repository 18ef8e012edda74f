"""A cohort analyzed on all cores of a machine or on a Ray cluster, resumable at any moment."""

from covid19net.batch.plan import Keep, Plan
from covid19net.batch.run import Summary, run_batch

__all__ = ["Keep", "Plan", "Summary", "run_batch"]
