"""Results put back on source slices that reach out of the grid they were read on."""

import numpy as np
import pytest

from covid19net.dicom_results.frames import on_slices
from covid19net.origin import Origin, SourceSlice
from covid19net.volume import Overlay


@pytest.mark.parametrize(
    ("row", "expected"), [(0, [1, 2, 3]), (1, [2, 3, 0]), (-1, [0, 1, 2]), (2, [3, 0, 0])]
)
def test_a_slice_that_reaches_out_of_the_grid_is_empty_there(row, expected):
    """By hand: rows of the grid hold 1, 2, 3; a slice that begins at row 1 sees 2, 3 and then nothing."""
    values = np.array([[[1, 1], [2, 2], [3, 3]]], np.uint8)
    affine = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    one = SourceSlice("", "1.2", (0.0, float(row), 0.0), (0.0, row + 0.2, 0.0))
    origin = Origin(
        slices=(one,), affine=affine, size=(3, 2), spacing=(1.0, 1.0), orientation=(1, 0, 0, 0, 1, 0),
        thickness=1.0, study_uid="", series_uid="", frame_of_reference_uid="", multiframe=False, identity={},
    )  # fmt: skip
    found = on_slices(Overlay(values, affine), origin)
    assert found[0, :, 0].tolist() == found[0, :, 1].tolist() == expected
