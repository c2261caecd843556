"""Search hyperparameters for small medical images, with exact budgets and a sealed test split.

    from bloodsearch import export, final_eval, load_study, optimize, predict, report

    result = optimize("demo", trials=12, dataset="synthetic", on_progress=print)

Every name is imported when it is first used, so `import bloodsearch` loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .search import __version__

if TYPE_CHECKING:
    from .search.api.export import export
    from .search.api.final import final_eval, final_eval_baselines
    from .search.api.placement import Placement
    from .search.api.predict import predict
    from .search.api.report import report
    from .search.api.search import optimize
    from .search.api.study import load_study
    from .search.api.trials import run_trials
    from .search.cluster.request import RayCluster
    from .search.database.storage import open_storage
    from .search.errors import (
        BloodsearchError,
        DataError,
        Interrupted,
        RefusedError,
        StorageError,
        UsageError,
    )
    from .search.evaluation.averaging import Averaging
    from .search.importing.run import import_images
    from .search.pruning.pruner import FamilyPruner
    from .search.sampling.sampler import make_sampler
    from .studies import PrunerSettings, StudyFileError

_MODULES = {
    ".search.api.export": ("export",),
    ".search.api.final": ("final_eval", "final_eval_baselines"),
    ".search.api.placement": ("Placement",),
    ".search.api.predict": ("predict",),
    ".search.api.report": ("report",),
    ".search.api.search": ("optimize",),
    ".search.api.study": ("load_study",),
    ".search.api.trials": ("run_trials",),
    ".search.cluster.request": ("RayCluster",),
    ".search.database.storage": ("open_storage",),
    ".search.errors": (
        "BloodsearchError",
        "DataError",
        "Interrupted",
        "RefusedError",
        "StorageError",
        "UsageError",
    ),
    ".search.evaluation.averaging": ("Averaging",),
    ".search.importing.run": ("import_images",),
    ".search.pruning.pruner": ("FamilyPruner",),
    ".search.sampling.sampler": ("make_sampler",),
    ".studies": ("PrunerSettings", "StudyFileError"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Averaging",
    "BloodsearchError",
    "DataError",
    "FamilyPruner",
    "Interrupted",
    "Placement",
    "PrunerSettings",
    "RayCluster",
    "RefusedError",
    "StorageError",
    "StudyFileError",
    "UsageError",
    "__version__",
    "export",
    "final_eval",
    "final_eval_baselines",
    "import_images",
    "load_study",
    "make_sampler",
    "open_storage",
    "optimize",
    "predict",
    "report",
    "run_trials",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(__all__) | set(globals()))
