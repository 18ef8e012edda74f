"""Weights: model cards, files, the sets there are, and the import of the authors' published networks."""

from covid19net.weights.cards import Card, read_card
from covid19net.weights.files import WeightFile, load_tensors, write_weights
from covid19net.weights.install import install_wang2020
from covid19net.weights.keras_h5 import import_keras, read_keras
from covid19net.weights.keras_names import encoder_from_keras_names
from covid19net.weights.networks import load_exactly, load_network, tensors_of
from covid19net.weights.registry import (
    SetListing,
    WeightSet,
    check_bundled,
    find_set,
    join_sets,
    list_sets,
    lung_weights,
    new_set_folder,
)

__all__ = [
    "Card",
    "SetListing",
    "WeightFile",
    "WeightSet",
    "check_bundled",
    "encoder_from_keras_names",
    "find_set",
    "import_keras",
    "install_wang2020",
    "join_sets",
    "list_sets",
    "load_exactly",
    "load_network",
    "load_tensors",
    "lung_weights",
    "new_set_folder",
    "read_card",
    "read_keras",
    "tensors_of",
    "write_weights",
]
