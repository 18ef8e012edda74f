"""The collections that a manifest can be made of, by name."""

from covid19net.collections import covid_ct_md, ictcf, vessel12
from covid19net.collections.collection import Collection
from covid19net.errors import InputError

COLLECTIONS: dict[str, Collection] = {
    module.COLLECTION.name: module.COLLECTION
    for module in (
        vessel12,
        ictcf,
        covid_ct_md,
    )
}


def collection_of(name: str) -> Collection:
    """A collection by its name, whatever its case.

    Raises:
        InputError: there is none of this name.
    """
    found = COLLECTIONS.get(name.lower())
    if found is None:
        raise InputError(f"{name}: no collection of this name; there are {', '.join(COLLECTIONS)}")
    return found
