"""What the list of jobs shows of a result."""

import json
from pathlib import Path
from typing import Any

RECORD = "result.json"


def summary_of(folder: Path) -> dict[str, Any] | None:
    """Score, threshold, call, demonstration, number of findings and seconds of a stored case.

    Args:
        folder: with a result.json.

    Returns:
        None where there is none that can be read. "positive" is the call at the threshold;
        "demonstration" whether the weights are no basis for any patient; "seconds" is the time of all stages.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        score, threshold = record["probability"], record["decision"]["threshold"]
        return {
            "score": score,
            "threshold": threshold,
            "positive": record["decision"]["call"] == "positive",
            "demonstration": any(f["code"] == "weights-demonstration" for f in record["findings"]),
            "warnings": len(record["findings"]),
            "seconds": round(sum(record["seconds"].values()), 3),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
