"""A recipe from downloaded public collections to weights, a prognostic model and reports, step by step."""

from covid19net.reproduce.estimate import hours_of, not_measured, sources, total
from covid19net.reproduce.inventory import Holding, take_inventory
from covid19net.reproduce.page import write_page
from covid19net.reproduce.public import WANTED, Choice, Place, missing_lines, steps_of
from covid19net.reproduce.runner import Record, left_to_do, run_steps
from covid19net.reproduce.step import Cost, Step

__all__ = [
    "WANTED",
    "Choice",
    "Cost",
    "Holding",
    "Place",
    "Record",
    "Step",
    "hours_of",
    "left_to_do",
    "missing_lines",
    "not_measured",
    "run_steps",
    "sources",
    "steps_of",
    "take_inventory",
    "total",
    "write_page",
]
