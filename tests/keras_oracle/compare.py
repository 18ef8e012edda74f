"""Import the files that build.py made and compare our networks with Keras. Usage: compare.py FOLDER [--keep]

Prints the largest differences and fails where one is over the limit. With --keep the answers of Keras to the
small inputs are written into tests/reference, where the ordinary tests find them.
"""

from pathlib import Path
import sys
import tempfile

import numpy as np
from seeded import INPUTS, REFERENCE, SMALL, image
import torch

from covid19net.weights import import_keras, load_network

LIMIT = 1e-4  # of features and logit relative to the largest of them; of probabilities as they are


def ours(model, network, size):
    """The same answers as build.py's `answers`."""
    given = torch.from_numpy(image(network, size))
    with torch.inference_mode():
        if network == "densenet_fpn":
            return {"probability": torch.sigmoid(model(given.permute(2, 0, 1)[None]))[0, 0].numpy()}
        logit, features = model(given[None, None])
    return {
        "features": features[0].numpy(),
        "logit": logit.numpy()[0],
        "probability": torch.sigmoid(logit).numpy()[0],
    }


def difference(kind: str, found: np.ndarray, expected: np.ndarray) -> float:
    """Largest absolute difference; of features and logits divided by the largest expected value."""
    scale = 1.0 if kind == "probability" else np.abs(expected).max()
    return float(np.abs(np.asarray(found, np.float64) - expected).max() / scale)


def main(folder: Path, keep: bool) -> int:
    worst = 0.0
    kept = {}
    for network in INPUTS:
        expected = np.load(folder / f"{network}.npz", allow_pickle=False)
        for kind in ("whole", "weights"):
            with tempfile.TemporaryDirectory() as scratch:
                model = load_network(import_keras(folder / f"{network}-{kind}.h5", Path(scratch)))
            for size in INPUTS[network]:
                for answer, value in ours(model, network, size).items():
                    theirs = expected[f"{size} {answer}"]
                    wrong = difference(answer, value, theirs)
                    worst = max(worst, wrong)
                    line = f"{network:13} {kind:8} {size:7} {answer:12} {wrong:.1e}"
                    sys.stdout.write(f"{line}  (Keras {theirs.min():.3f} to {theirs.max():.3f})\n")
        kept |= {f"{network} {k}": v for k, v in expected.items() if k.split()[0] in SMALL[network]}
    if keep:
        np.savez_compressed(REFERENCE / "keras_activations.npz", **kept)
    sys.stdout.write(f"largest difference {worst:.1e}, limit {LIMIT:.0e}\n")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), "--keep" in sys.argv))
