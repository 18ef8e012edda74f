"""The collections that a manifest can be made of, by name."""

from covid19net.collections import (
    contours,
    covid_ct_md,
    ictcf,
    luna16,
    nsclc_radiogenomics,
    ny_sbu,
    ricord,
    seg20,
    stoic,
    vessel12,
)
from covid19net.collections.collection import Collection
from covid19net.errors import InputError

COLLECTIONS: dict[str, Collection] = {
    collection.name: collection
    for collection in (
        vessel12.COLLECTION,
        contours.LCTSC_COLLECTION,
        contours.LUNG1_COLLECTION,
        luna16.COLLECTION,
        seg20.COLLECTION,
        nsclc_radiogenomics.COLLECTION,
        ictcf.COLLECTION,
        covid_ct_md.COLLECTION,
        stoic.COLLECTION,
        ricord.COLLECTION,
        ny_sbu.COLLECTION,
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
