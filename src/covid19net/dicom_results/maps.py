"""Lung mask and heat map as DICOM objects, one frame for each slice of the scan.

Every slice has its frame, empty ones too, on the full grid of the scan: viewers that count frames instead of
reading positions would shift the overlay otherwise.
"""

from typing import TYPE_CHECKING

import numpy as np

from covid19net.dicom_results.codes import lung, own, scheme
from covid19net.dicom_results.frames import on_slices
from covid19net.dicom_results.settle import Kind, card, plain, series, settle
from covid19net.dicom_results.sources import source_images
from covid19net.explain.grad_cam import FULL_SCALE
from covid19net.origin import Origin
from covid19net.pipeline import CaseResult

if TYPE_CHECKING:
    from highdicom.pm import ParametricMap
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.dataset import Dataset

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
    """The heat map as float pixels from 0 to 1.

    Float and not integer, though it takes twice the room: 3D Slicer's reader (dcmqi) takes float maps only.
    Stored as what it is, since neither it nor OHIF looks at the real world value mapping, and from 0 to 1,
    since OHIF shows a hundred times what is stored in a window from 0 to 100.

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
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=meaning,
    )
    # LINEAR, the default, is for whole numbers: a window as wide as 1 shows 0 and the rest (PS3.3 C.11.2.1).
    window = VOILUTTransformation(window_center=0.5, window_width=1.0, voi_lut_function="LINEAR_EXACT")
    dataset = ParametricMap(
        source_images=source_images(origin),
        pixel_array=on_slices(result.heatmap, origin) / np.float32(FULL_SCALE),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[window],
        content_label="HEAT",
        content_description="Suspicious areas of covid19net, Grad-CAM",
        **series(HEAT, result),
    )
    dataset.CodingSchemeIdentificationSequence = [scheme()]
    dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [_both_lungs()]
    _raise_frames(dataset, origin)
    settle(dataset, origin)
    return dataset


def _raise_frames(dataset: "ParametricMap", origin: Origin) -> None:
    """Put the frames in the order of their positions along the normal of the slices, row x column.

    highdicom puts them in the opposite order. dcmqi (3D Slicer) and OHIF lay the frames of a map in this one,
    whatever their positions say, and would show it upside down.
    """
    groups = dataset.PerFrameFunctionalGroupsSequence
    positions = np.array([group.PlanePositionSequence[0].ImagePositionPatient for group in groups], float)
    order = np.argsort(positions @ np.cross(origin.orientation[:3], origin.orientation[3:]))
    frames = np.frombuffer(dataset.FloatPixelData, np.float32).reshape(len(groups), -1)
    dataset.FloatPixelData = b"".join(frames[index] for index in order)
    dataset.PerFrameFunctionalGroupsSequence = [groups[index] for index in order]
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence, start=1):
        group.FrameContentSequence[0].DimensionIndexValues = number


def _both_lungs() -> "Dataset":
    """What the frames are of (PS3.3 C.7.6.16.2.8). Optional in a map, but dcmqi crashes without it."""
    from highdicom.sr import CodedConcept
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes

    anatomy = Dataset()
    anatomy.FrameLaterality = "B"
    anatomy.AnatomicRegionSequence = [CodedConcept.from_code(codes.SCT.Lung)]
    return anatomy
