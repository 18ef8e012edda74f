"""The page that names everything a recipe made, its licence, and where to look."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from covid19net.collections import as_phantoms, collection_of
from covid19net.reproduce.inventory import Holding
from covid19net.reproduce.public import NAME, STAY, missing_lines
from covid19net.reproduce.step import Step
from covid19net.table import write_whole
from covid19net.weights.registry import weight_files

PAGE = "README.md"
SHOWN = {"report.html": "", "prognosis.json": "the prognostic model, for analyze --prognosis"}
DEMONSTRATION = (
    "**A demonstration.** The scans are phantoms in the layout of the collections. The weights are "
    "demonstration weights; no number here says anything about a person or about the collections."
)
RESEARCH = (
    "Research. Not a medical device; not validated for use in care. Read the licence of every collection on "
    "its own page before you use or pass on what was made from it."
)


def write_page(out: Path, steps: Sequence[Step], found: Mapping[str, Holding]) -> Path:
    """Write README.md into the folder of the results.

    Args:
        out: that folder.
        steps: that were done.
        found: the downloads.

    Returns:
        The page.
    """
    phantoms = any(holding.phantoms for holding in found.values())
    lines = [f"# {NAME}", "", DEMONSTRATION if phantoms else RESEARCH, "", "## Weights", ""]
    for task, weights in weight_files(out / NAME).items():
        card = weights.card
        lines.append(
            f"- `{NAME}/{weights.path.name}`: {task}; licence {card.licence}; "
            f"{'demonstration; ' if card.demonstration else ''}SHA-256 {card.sha256[:16]}; "
            f"{measured(card.metrics)}; card `{NAME}/{task}.json`"
        )
    lines += ["", f"Use: `covid19net analyze SCAN -o RESULT --weights {out / NAME}/`. By name, after", ""]
    lines += [f"    covid19net weights join {out / NAME} --name {NAME}", "", "## Studies", ""]
    lines += [
        f"- `{path.relative_to(out)}`: {SHOWN[path.name] or step.purpose}"
        for step in steps for path in step.makes if path.name in SHOWN
    ]  # fmt: skip
    if STAY in found:
        lines.append(
            "- The prognosis is a pilot: few patients, ages in three bands, judged on the patients that "
            "made it. No comparison with the paper's numbers is justified."
        )
    lines += ["", "## Collections", ""]
    for name in found:
        facts = as_phantoms(collection_of(name)) if found[name].phantoms else collection_of(name)
        lines.append(f"- {facts.title}: licence {facts.licence}; cite {facts.citation}. {facts.claims}")
        for fact in facts.awaits():
            lines.append(f"  - awaits confirmation: {fact}")
    lines += [f"- {line}" for line in missing_lines(found)]
    lines += [
        "",
        "## Steps",
        "",
        "Plain commands; `recipe.json` records what they read and left.",
        "",
    ]
    lines += [f"    {step.line()}" for step in steps]
    return write_whole(out / PAGE, "\n".join(lines) + "\n")


def measured(metrics: Mapping[str, object]) -> str:
    """The main numbers of a card in a few words."""
    if "dice_tuning" in metrics:
        found = {"tuning": {"patients": metrics["patients"], "dice": metrics["dice_tuning"]}}
        found |= dict(metrics.get("validation", {}))  # type: ignore[call-overload]
        return ", ".join(f"Dice {v['dice']} ({name}, {v['patients']} patients)" for name, v in found.items())
    parts = []
    for name, facts in metrics.items():
        if isinstance(facts, dict) and "auc" in facts:
            auc = facts["auc"]
            counts = f"{facts['positive']} against {facts['negative']}"
            parts.append(f"AUC {auc['value']} ({auc['low']} to {auc['high']}) {name}, {counts}")
    return ", ".join(parts) or "not measured"
