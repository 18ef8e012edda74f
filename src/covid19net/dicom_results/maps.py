"""Lung mask and heat map as DICOM objects, one frame for each slice of the scan.

Every slice has its frame, empty ones too: viewers that count frames instead of reading positions would shift
the overlay otherwise.
"""

from typing import TYPE_CHECKING

import numpy as np

from covid19net.dicom_results.codes import lung, own, scheme
from covid19net.dicom_results.frames import on_slices
from covid19net.dicom_results.settle import Kind, card, plain, series, settle
from covid19net.dicom_results.sources import source_images
from covid19net.origin import Origin
from covid19net.pipeline import CaseResult

if TYPE_CHECKING:
    from highdicom.pm import ParametricMap
    from highdicom.seg import Segmentation, SegmentDescription

LUNGS = Kind(9001, "Lungs")
HEAT = Kind(9002, "Suspicious areas")
SEGMENTS = {"right": 1, "left": 2}  # values of the mask; DICOM always says which side is which
COLOURS = {"right": (0, 158, 115), "left": (86, 180, 233)}  # Okabe and Ito's green and blue


def lung_segmentation(result: CaseResult, origin: Origin) -> "Segmentation":
    """Both lungs, binary, in the geometry of the slices.

    Args:
        result: from `analyze`.
        origin: of its scan, from `check_origin`.
    """
    from highdicom.seg import Segmentation

    dataset = Segmentation(
        source_images=source_images(origin),
        pixel_array=on_slices(result.lungs, origin),
        segmentation_type="BINARY",
        segment_descriptions=[_segment(result, side, n) for side, n in SEGMENTS.items()],
        omit_empty_frames=False,
        content_label="LUNGS",
        content_description="Lung mask of covid19net",
        **series(LUNGS, result),
    )
    settle(dataset, origin)
    return dataset


def _segment(result: CaseResult, side: str, number: int) -> "SegmentDescription":
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    weights = card(result, "lungs")
    code = lung(side)
    return SegmentDescription(
        segment_number=number,
        segment_label=code.meaning,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=code,
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=plain(f"covid19net lungs {weights['name']}"),
            family=codes.DCM.ArtificialIntelligence,
            version=plain(str(result.provenance["version"])),
            parameters={"weights_sha256": weights["sha256"]},
        ),
        display_color=CIELabColor.from_rgb(*COLOURS[side]),
    )


def heat_map_object(result: CaseResult, origin: Origin) -> "ParametricMap":
    """The heat map in percent, as float pixels.

    Float and not integer, though it takes twice the room: 3D Slicer's reader (dcmqi) takes float maps only.

    Args:
        result: from `analyze`.
        origin: of its scan, from `check_origin`.
    """
    from highdicom import VOILUTTransformation
    from highdicom.pm import ParametricMap, RealWorldValueMapping
    from pydicom.sr.codedict import codes

    meaning = own("heat")
    mapping = RealWorldValueMapping(
        lut_label="GRAD-CAM",
        lut_explanation=meaning.meaning,
        unit=codes.UCUM.Percent,
        value_range=(0.0, 100.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=meaning,
    )
    dataset = ParametricMap(
        source_images=source_images(origin),
        pixel_array=on_slices(result.heatmap, origin).astype(np.float32),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[VOILUTTransformation(window_center=50.0, window_width=100.0)],
        content_label="HEAT",
        content_description="Suspicious areas of covid19net, Grad-CAM",
        **series(HEAT, result),
    )
    dataset.CodingSchemeIdentificationSequence = [scheme()]
    settle(dataset, origin)
    return dataset
