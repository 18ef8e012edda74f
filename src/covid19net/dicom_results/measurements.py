"""The numbers of a case as a structured report, template TID 1500 of DICOM PS3.16."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from covid19net.dicom_results.codes import OWN, own, scheme, unit_of
from covid19net.dicom_results.maps import SEGMENTS
from covid19net.dicom_results.settle import TRACKING, Kind, card, equipment, label_of, plain, series, settle
from covid19net.dicom_results.sources import source_images
from covid19net.origin import Origin
from covid19net.pipeline import CaseResult
from covid19net.quantify import WINDOWS
from covid19net.report.discharge import INTENDED_USE

if TYPE_CHECKING:
    from highdicom.sr import (
        AlgorithmIdentification,
        ComprehensiveSR,
        FindingSite,
        Measurement,
        MeasurementsAndQualitativeEvaluations,
        ObservationContext,
        ReferencedSegment,
        TextContentItem,
        TrackingIdentifier,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )
    from pydicom.dataset import Dataset
    from pydicom.sr.coding import Code

    Group = MeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations

NUMBERS = Kind(9003, "Measurements")
DEVICE = "2.25.58923793598566383847541098720504497239"  # covid19net as an observer, whatever its version


def report(result: CaseResult, origin: Origin, lungs: "Dataset", heat: "Dataset") -> "ComprehensiveSR":
    """Probability, prognosis, lung volumes and densities with codes, units, sites and what made them.

    Args:
        result: from `analyze`.
        origin: of its scan, from `check_origin`.
        lungs: segmentation that the volumes are those of.
        heat: map, listed as evidence.
    """
    from highdicom.sr import ComprehensiveSR, MeasurementReport
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    content = MeasurementReport(
        observation_context=_observer(result),
        procedure_reported=Code("24627-2", "LN", "CT Chest"),
        imaging_measurements=list(_groups(result, origin, lungs)),
        title=codes.DCM.ImagingMeasurementReport,
    )
    content[0].ContentSequence.extend(_texts(result))
    dataset = ComprehensiveSR(
        evidence=[*source_images(origin), lungs, heat],
        content=content[0],
        is_complete=True,
        is_final=False,
        is_verified=False,
        **series(NUMBERS, result),
    )
    _one_by_one(dataset)
    dataset.CodingSchemeIdentificationSequence = [scheme()]
    settle(dataset, origin)
    return dataset


def _one_by_one(item: "Dataset") -> None:
    """Items of containers stand apart: as continuous text, readers show numbers without their names."""
    if "ContinuityOfContent" in item:
        item.ContinuityOfContent = "SEPARATE"
    for part in item.get("ContentSequence", []):
        _one_by_one(part)


def _observer(result: CaseResult) -> "ObservationContext":
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext
    from pydicom.sr.codedict import codes

    made_by = equipment(result)
    device = DeviceObserverIdentifyingAttributes(
        uid=DEVICE,
        name=made_by["manufacturer"],
        manufacturer_name=made_by["manufacturer"],
        model_name=f"{made_by['manufacturer_model_name']} {made_by['software_versions']}",
        serial_number=made_by["device_serial_number"],
    )
    return ObservationContext(ObserverContext(codes.DCM.Device, device))


def _groups(result: CaseResult, origin: Origin, lungs: "Dataset") -> "Iterator[Group]":
    yield _diagnosis(result)
    if result.prognosis:
        yield _prognosis(result)
    for number, region in enumerate(result.quantification.regions, start=3):
        segment = _segment(origin, lungs, SEGMENTS[region]) if region in SEGMENTS else None
        yield _region(result, region, number, segment)


def _tracking(result: CaseResult, name: str, number: int) -> "TrackingIdentifier":
    from highdicom.sr import TrackingIdentifier

    return TrackingIdentifier(f"{TRACKING}.{number}", f"{name} ({label_of(result)})")


def _algorithm(result: CaseResult, network: str) -> "AlgorithmIdentification":
    from highdicom.sr import AlgorithmIdentification

    weights = card(result, network)
    return AlgorithmIdentification(
        name=plain(f"covid19net {network} {weights['name']}"),
        version=plain(str(result.provenance["version"])),
        parameters=[f"weights_sha256={weights['sha256']}"],
    )


def _measurement(name: "Code", value: float, unit: "Code", derivation: "Code | None" = None) -> "Measurement":
    from highdicom.sr import Measurement

    return Measurement(name=name, value=float(f"{value:.6g}"), unit=unit, derivation=derivation)


def _diagnosis(result: CaseResult) -> "Group":
    from highdicom.sr import MeasurementsAndQualitativeEvaluations, QualitativeEvaluation
    from pydicom.sr.codedict import codes

    calls = {
        "positive": codes.SCT.Positive,
        "negative": codes.SCT.Negative,
        "indeterminate": codes.SCT.Indeterminate,
    }
    unit = codes.UCUM.NoUnits
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(result, "COVID-19 probability", 1),
        finding_type=own("question"),
        algorithm_id=_algorithm(result, "diagnosis"),
        finding_sites=[_site("both")],
        measurements=[
            _measurement(codes.DCM.Probability, result.probability, unit),
            _measurement(codes.DCM.ThresholdValue, result.decision.threshold, unit),
        ],
        qualitative_evaluations=[QualitativeEvaluation(own("call"), calls[result.decision.call])],
    )


def _prognosis(result: CaseResult) -> "Group":
    from highdicom.sr import (
        AlgorithmIdentification,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
    )
    from pydicom.sr.codedict import codes

    prognosis = result.prognosis
    assert prognosis is not None
    unit, day = codes.UCUM.NoUnits, codes.UCUM.Day
    measured = [
        _measurement(own("risk"), prognosis.risk, unit),
        _measurement(own("risk_cut"), prognosis.cut, unit),
        _measurement(own("mean_stay"), prognosis.curve.mean, day),
    ]
    if prognosis.curve.median is not None:
        measured.append(_measurement(own("median_stay"), prognosis.curve.median, day))
    model = result.provenance["prognosis"]
    assert isinstance(model, dict)
    group = {"high": codes.SCT.HighRisk, "low": codes.SCT.LowRisk}[prognosis.group]
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(result, "Prognosis of discharge", 2),
        finding_type=own("risk"),
        algorithm_id=AlgorithmIdentification(
            name=plain(f"covid19net prognosis {prognosis.about.name}"),
            version=plain(str(result.provenance["version"])),
            parameters=[f"model_sha256={model['sha256']}"],
        ),
        measurements=measured,
        qualitative_evaluations=[QualitativeEvaluation(own("risk_group"), group)],
    )


def _site(region: str) -> "FindingSite":
    """Lung or zone of the lung, and laterality."""
    from highdicom.sr import FindingSite
    from pydicom.sr.codedict import codes

    zones = {
        "upper": codes.SCT.UpperZoneOfLung,
        "middle": codes.SCT.MiddleZoneOfLung,
        "lower": codes.SCT.LowerZoneOfLung,
    }
    sides = {"right": codes.SCT.Right, "left": codes.SCT.Left}
    words = region.split("-")
    zone = next((zones[word] for word in words if word in zones), codes.SCT.Lung)
    side = next((sides[word] for word in words if word in sides), codes.SCT.RightAndLeft)
    return FindingSite(zone, side)


def _segment(origin: Origin, lungs: "Dataset", number: int) -> "ReferencedSegment":
    from highdicom.sr import ReferencedSegment, SourceSeriesForSegmentation

    return ReferencedSegment(
        sop_class_uid=lungs.SOPClassUID,
        sop_instance_uid=lungs.SOPInstanceUID,
        segment_number=number,
        source_series=SourceSeriesForSegmentation(origin.series_uid),
    )


def _region(result: CaseResult, region: str, number: int, segment: "ReferencedSegment | None") -> "Group":
    """Volume and density of a part of the lungs."""
    from highdicom.sr import (
        MeasurementsAndQualitativeEvaluations,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )
    from pydicom.sr.codedict import codes

    found = result.quantification.regions[region]
    common = {
        "tracking_identifier": _tracking(result, f"Lung, {region}", number),
        "finding_type": codes.SCT.Lung,
        "algorithm_id": _algorithm(result, "lungs"),
        "finding_sites": [_site(region)],
        "measurements": [
            _measurement(codes.SCT.Volume, round(found.millilitres, 1), unit_of("ml")),
            _measurement(
                codes.DCM.AttenuationCoefficient,
                round(found.mean_hu, 1),
                codes.UCUM.HounsfieldUnit,
                codes.SCT.Mean,
            ),
            *(
                _measurement(own(share), round(100 * getattr(found, share), 2), codes.UCUM.Percent)
                for share in WINDOWS
            ),
        ],
    }
    if segment is None:
        return MeasurementsAndQualitativeEvaluations(**common)
    return VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **common)


def _texts(result: CaseResult) -> "Iterator[TextContentItem]":
    """What must be read with the numbers."""
    from highdicom.sr import TextContentItem

    lines = [("intended_use", INTENDED_USE)]
    lines += [
        ("definition", f"{OWN[share][1]}: {low} to below {high} HU, percent of the region")
        for share, (low, high) in WINDOWS.items()
    ]
    lines += [("warning", f"{finding.code}: {finding.message}") for finding in result.findings]
    lines += [
        ("weights", f"{network}: {weights['name']}, SHA-256 {weights['sha256']}")
        for network in ("lungs", "diagnosis")
        if (weights := card(result, network))
    ]
    for name, text in lines:
        yield TextContentItem(name=own(name), value=plain(text, 1024), relationship_type="CONTAINS")
