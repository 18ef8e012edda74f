"""Public collections of chest CTs as manifests: their facts, their layouts, what may be claimed."""

from covid19net.collections.collect import PHANTOMS, Written, are_phantoms, as_phantoms, write_manifest
from covid19net.collections.collection import SURE, USES, Collection, Count, Gathered, Stated
from covid19net.collections.own_folder import write_template
from covid19net.collections.registry import COLLECTIONS, collection_of

__all__ = [
    "COLLECTIONS",
    "PHANTOMS",
    "SURE",
    "USES",
    "Collection",
    "Count",
    "Gathered",
    "Stated",
    "Written",
    "are_phantoms",
    "as_phantoms",
    "collection_of",
    "write_manifest",
    "write_template",
]
