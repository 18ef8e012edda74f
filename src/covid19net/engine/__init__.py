"""Running the networks: OpenVINO on the CPU, torch on a GPU; the same numbers from both."""

from covid19net.engine.converted import Converted, convert, find_converted
from covid19net.engine.device import choose_device
from covid19net.engine.networks import (
    DiagnosisNetwork,
    Evidence,
    LungNetwork,
    describe,
    open_diagnosis,
    open_lungs,
)
from covid19net.engine.on_device import ScanOnDevice, to_device

__all__ = [
    "Converted",
    "DiagnosisNetwork",
    "Evidence",
    "LungNetwork",
    "ScanOnDevice",
    "choose_device",
    "convert",
    "describe",
    "find_converted",
    "open_diagnosis",
    "open_lungs",
    "to_device",
]
