"""Whether a training set has events enough for the covariates that are offered to the selection.

Counted are all candidates, not only those selected: who tries 67 covariates and keeps three has tried 67.
"""

from dataclasses import dataclass

from covid19net.prognosis.outcome import Outcome
from covid19net.prognosis.stepwise import Selection

ENOUGH = 10.0  # events a candidate; of the many rules the oldest, and a mild one
SOURCE = "Peduzzi et al., J Clin Epidemiol 1995;48:1503-1510; Riley et al., BMJ 2020;368:m441"


@dataclass(frozen=True)
class Support:
    """How many events of the training set carry the selection.

    Attributes:
        events: of the training set.
        candidates: covariates offered to the selection that vary and are not collinear.
        events_per_candidate: their ratio; events where there is no candidate.
    """

    events: int
    candidates: int
    events_per_candidate: float

    @property
    def warning(self) -> str:
        """That overfitting is to be expected; empty where there are events enough."""
        if self.events_per_candidate >= ENOUGH:
            return ""
        return (
            f"overfitting is to be expected: {self}, where fewer than {ENOUGH:g} are usually held to be too "
            f"few ({SOURCE}). Which covariates are selected, and their hazard ratios, will hardly hold in "
            "other patients"
        )

    def __str__(self) -> str:
        return (
            f"{self.events} events for {self.candidates} candidate covariates, "
            f"{self.events_per_candidate:.1f} events a candidate"
        )


def support_of(outcome: Outcome, selection: Selection, offered: int) -> Support:
    """Events for each candidate.

    Args:
        outcome: of the training set.
        selection: which says what could not be used.
        offered: covariates, those included.
    """
    events, candidates = int(outcome.event.sum()), offered - len(selection.dropped)
    return Support(events, candidates, events / max(candidates, 1))
