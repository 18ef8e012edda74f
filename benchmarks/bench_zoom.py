"""Spline zoom to the size of the lung image: one matrix for each axis, against scipy.ndimage.zoom.

    python benchmarks/bench_zoom.py
    python benchmarks/bench_zoom.py --shape 40 60 70 --repeats 1

Both are timed in turns on the same array of HU; printed are the least seconds of each, their ratio, and the
largest difference in HU. The time of making the matrices counts in the first call only, as in use.
"""

import argparse
from time import perf_counter

import numpy as np
from scipy import ndimage

from covid19net.preprocess import IMAGE_SHAPE
from covid19net.resize import zoom


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 330, 420), metavar=("Z", "Y", "X"))
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args(arguments)
    shape = tuple(given.shape)
    hu = np.random.default_rng(0).integers(-1024, 1500, shape).astype(np.float32)
    factors = [b / a for a, b in zip(shape, IMAGE_SHAPE, strict=True)]
    ours, theirs = [], []
    for _ in range(given.repeats):
        start = perf_counter()
        fast = zoom(hu, IMAGE_SHAPE)
        middle = perf_counter()
        exact = ndimage.zoom(hu.astype(np.float64), factors, order=3)
        ours.append(middle - start)
        theirs.append(perf_counter() - middle)
    print(f"{shape} -> {IMAGE_SHAPE}")
    print(f"first call {ours[0]:.2f} s; least: matrices {min(ours):.3f} s, scipy {min(theirs):.3f} s")
    print(f"ratio {min(theirs) / min(ours):.1f}; largest difference {np.abs(fast - exact).max():.5f} HU")


if __name__ == "__main__":
    main()
