"""What the paper printed, to stand beside one's own numbers (Wang et al. 2020, Eur Respir J 56:2000775).

As printed, in fractions. The accuracy of validation 2-viral is impossible (see `covid19net audit`), and the
intervals of the AUC are narrower than these numbers of patients can give.
"""

from dataclasses import dataclass
from typing import NamedTuple

SOURCE = "Wang et al. 2020, Eur Respir J 56:2000775"


class Printed(NamedTuple):
    """Results of one set in the paper's Table 2.

    Attributes:
        auc: area under the ROC curve.
        auc_low: lower limit as printed.
        auc_high: upper limit as printed.
        accuracy: at the authors' threshold.
        sensitivity: likewise.
        specificity: likewise.
    """

    auc: float
    auc_low: float
    auc_high: float
    accuracy: float
    sensitivity: float
    specificity: float


@dataclass(frozen=True)
class PrintedGroups:
    """Figure 4 of the paper for one set.

    Attributes:
        p: of the log-rank test, as printed.
        low: numbers at risk of the low-risk group, at the six times of the figure.
        high: likewise of the high-risk group.
    """

    p: str
    low: tuple[int, ...]
    high: tuple[int, ...]


TABLE_2 = {
    "training": Printed(0.90, 0.89, 0.91, 0.8124, 0.7893, 0.8993),
    "validation 1": Printed(0.87, 0.86, 0.89, 0.7832, 0.8039, 0.7661),
    "validation 2": Printed(0.88, 0.86, 0.90, 0.8012, 0.7935, 0.8116),
    "validation 2-viral": Printed(0.86, 0.83, 0.89, 0.8500, 0.7935, 0.7143),
}
FIGURE_4 = {
    "training": PrintedGroups("< 0.0001", (150, 141, 93, 39, 12, 0), (151, 141, 89, 43, 15, 5)),
    "validation 3": PrintedGroups("0.013", (32, 32, 15, 5, 0, 0), (21, 21, 14, 6, 1, 0)),
    "validation 4": PrintedGroups("0.014", (37, 37, 25, 6, 1, 0), (80, 80, 62, 23, 4, 0)),
}
RELEASED_THRESHOLD = 0.8  # of the authors' released test script
SELECTED = 3  # features the paper's stepwise selection chose; which, it does not say
