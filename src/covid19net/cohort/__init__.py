"""A cohort as one table: read and checked whole, described, divided into strata, and made into numbers.

Nothing that is missing is dropped or filled in unless a named option says so; what was done is a note that
belongs beside every result made from it.
"""

from covid19net.cohort.acquisition import acquisition, class_by_set
from covid19net.cohort.follow_up import FEWEST_DAYS, is_followed, is_in_time
from covid19net.cohort.join import Joined, join_manifests, relative
from covid19net.cohort.leaks import Leak, Member, alike, by_name, find_leaks, members_of
from covid19net.cohort.manifest import (
    COLUMNS,
    COMORBIDITIES,
    FAULTS_SHOWN,
    Patient,
    Value,
    check_survival,
    check_two_classes,
    read_manifest,
    unknown_columns,
    write_table,
)
from covid19net.cohort.missing import Bands, ClinicalTable, any_comorbidity, banded, clinical, in_years
from covid19net.cohort.sources import (
    SIDECAR,
    DataSource,
    cautions,
    learned_from,
    licence_of,
    made_from,
    read_sources,
    refuse_foreign,
    sidecar_of,
    source_from,
    sources_of,
)
from covid19net.cohort.strata import NOT_KNOWN, THIN, slices_of, strata_of
from covid19net.cohort.table1 import table_one

__all__ = [
    "COLUMNS",
    "COMORBIDITIES",
    "FAULTS_SHOWN",
    "FEWEST_DAYS",
    "NOT_KNOWN",
    "SIDECAR",
    "THIN",
    "Bands",
    "ClinicalTable",
    "DataSource",
    "Joined",
    "Leak",
    "Member",
    "Patient",
    "Value",
    "acquisition",
    "alike",
    "any_comorbidity",
    "banded",
    "by_name",
    "cautions",
    "check_survival",
    "check_two_classes",
    "class_by_set",
    "clinical",
    "find_leaks",
    "in_years",
    "is_followed",
    "is_in_time",
    "join_manifests",
    "learned_from",
    "licence_of",
    "made_from",
    "members_of",
    "read_manifest",
    "read_sources",
    "refuse_foreign",
    "relative",
    "sidecar_of",
    "slices_of",
    "source_from",
    "sources_of",
    "strata_of",
    "table_one",
    "unknown_columns",
    "write_table",
]
