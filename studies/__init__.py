"""Study files: those that ship, and the schema that checks them."""

from .files import (
    DEFAULT_STUDY,
    epochs_overrides,
    load_study_file,
    only_arch,
    shipped_names,
    shipped_text,
    study_from_dict,
    study_text,
)
from .generic import GENERIC_STUDY, generic_study
from .overrides import Overrides, override_keys, read_as_before
from .parameters import PARAMETERS, Parameter, Value
from .parsing import StudyFileError, parse_study
from .schema import StudyFile
from .sections import MAX_TRIALS, Baseline, Entry, Ladder, Range
from .sections import Pruner as PrunerSettings

__all__ = [
    "DEFAULT_STUDY",
    "GENERIC_STUDY",
    "MAX_TRIALS",
    "PARAMETERS",
    "Baseline",
    "Entry",
    "Ladder",
    "Overrides",
    "Parameter",
    "PrunerSettings",
    "Range",
    "StudyFile",
    "StudyFileError",
    "Value",
    "epochs_overrides",
    "generic_study",
    "load_study_file",
    "only_arch",
    "override_keys",
    "parse_study",
    "read_as_before",
    "shipped_names",
    "shipped_text",
    "study_from_dict",
    "study_text",
]
