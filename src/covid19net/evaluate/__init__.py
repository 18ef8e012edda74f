"""How good a diagnosis is: pure functions from labels and scores to numbers with their intervals.

A label is boolean (True: COVID-19), a score any finite number that is larger for COVID-19; both have the
axis (patient,). Every result is a fraction, never percent, and never NaN: what cannot be computed is refused
with the counts (InputError), or None where the docstring says so.
"""

from covid19net.evaluate.audit import Doubt, audit
from covid19net.evaluate.bootstrap import bootstrap, bootstrap_auc
from covid19net.evaluate.calibration import Bin, Calibration, calibrate
from covid19net.evaluate.decision import DecisionCurve, decision_curve
from covid19net.evaluate.estimate import Estimate, proportion
from covid19net.evaluate.logistic import Logistic, fit_logistic
from covid19net.evaluate.operating import OperatingPoint, operating_point, youden_threshold
from covid19net.evaluate.performance import (
    GroupDifference,
    Performance,
    Spread,
    StratumPerformance,
    performance,
    performance_by,
)
from covid19net.evaluate.predictable import Predictability, predictability
from covid19net.evaluate.results import Printed, ResultRow, Results, read_results
from covid19net.evaluate.roc import (
    AucComparison,
    RankTest,
    RocCurve,
    auc,
    compare_aucs,
    compare_independent_aucs,
    mann_whitney,
    roc_curve,
)
from covid19net.evaluate.strata import StratifiedAuc, Stratum, by_stratum, within_strata_auc

__all__ = [
    "AucComparison",
    "Bin",
    "Calibration",
    "DecisionCurve",
    "Doubt",
    "Estimate",
    "GroupDifference",
    "Logistic",
    "OperatingPoint",
    "Performance",
    "Predictability",
    "Printed",
    "RankTest",
    "ResultRow",
    "Results",
    "RocCurve",
    "Spread",
    "StratifiedAuc",
    "Stratum",
    "StratumPerformance",
    "auc",
    "audit",
    "bootstrap",
    "bootstrap_auc",
    "by_stratum",
    "calibrate",
    "compare_aucs",
    "compare_independent_aucs",
    "decision_curve",
    "fit_logistic",
    "mann_whitney",
    "operating_point",
    "performance",
    "performance_by",
    "predictability",
    "proportion",
    "read_results",
    "roc_curve",
    "within_strata_auc",
    "youden_threshold",
]
