"""The models and recipes of a search that `--minutes` fits: those of its families, within its limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...models.config import Shape
from ...studies import PARAMETERS, StudyFile, Value
from ..errors import UsageError
from ..limits import TooCostly, check_latency, check_size
from ..sampling.space import Params, to_config
from ..training.config import TrialConfig
from .family_costs import configured
from .final_lengths import MLP, Width

AUGMENTATION = ("augment", "shift", "rotate")
"""What changes how long an epoch takes, and not the model."""
CNN_SIZES = ("cnn_blocks", "cnn_stem", "cnn_kernel", "cnn_convs")
"""The integers, besides the width, that change how long an epoch of a CNN takes."""


def searched_families(file: StudyFile) -> list[str]:
    """Return the families that are searched. The study's own baselines, which are replaced, have no say."""
    assert file.minutes is not None
    space = file.space | file.minutes.space
    return file.model_copy(update={"space": space, "baselines": ()}).families()


def timed_models(file: StudyFile, shape: Shape) -> dict[Width, TrialConfig]:
    """Return the configurations whose epochs are timed.

    They have what the space fixes, else its most costly values. An MLP's depth is the middle of the space's.
    """
    assert file.minutes is not None
    families = searched_families(file)
    if "cnn" in families and not file.minutes.cnn_widths:
        raise UsageError("minutes.cnn_widths is empty; give at least one width, as in [16, 32]")
    fitted = file.model_copy(update={"space": file.space | file.minutes.space})
    batch_size = math.sqrt(fitted.least("batch_size") * fitted.largest("batch_size"))
    shared: Params = {
        "optimizer": "adamw", "lr": 1e-3, "schedule": "one_cycle", "augment": _last(fitted, "augment"),
        "shift": int(fitted.largest("shift")), "rotate": fitted.largest("rotate"),
        "batch_size": round(batch_size), "ema": 0.998,
    }  # fmt: skip
    shared |= {name: value for name, value in fitted.long_params().items() if name in AUGMENTATION}
    points: dict[Width, Params] = {}
    if "cnn" in families:
        cnn: Params = {
            "arch": "cnn", "optimizer": "muon", "cnn_residual": True, "cnn_norm": True, "cnn_head": "max",
            "cnn_dropout": 0.2, "cnn_hidden": _last(fitted, "cnn_hidden"),
        }  # fmt: skip
        cnn |= _fixed(fitted, "cnn_") | {"cnn_growth": fitted.largest("cnn_growth")}
        cnn |= {name: int(fitted.largest(name)) for name in CNN_SIZES}
        points |= {width: cnn | {"cnn_width": width} for width in file.minutes.cnn_widths}
    if "mlp" in families:
        mlp: Params = {"arch": "mlp", "mlp_norm": True}
        mean_depth = (fitted.least("mlp_depth") + fitted.largest("mlp_depth")) / 2
        sizes = {"mlp_depth": math.ceil(mean_depth), "mlp_width": int(fitted.largest("mlp_width"))}
        # a recipe that is kept is trained to the end, whatever its size
        for recipe in file.minutes.baselines:
            if recipe.params.get("arch") == "mlp":
                sizes = {name: max(n, int(recipe.params.get(name, n))) for name, n in sizes.items()}
        points[MLP] = mlp | _fixed(fitted, "mlp_") | sizes
    return {
        width: to_config(shared | point, epochs=1, patience=0, shape=shape)
        for width, point in points.items()
    }


def fitted_recipes(file: StudyFile, width: Width, shape: Shape) -> list[dict[str, Any]]:
    """Return the recipes that are tried first, with the space's fixed values and its largest network.

    Of orientations they have the most. Recipes that the limits exclude are left out: a baseline is trained
    whatever it costs.
    """
    assert file.minutes is not None
    families = searched_families(file)
    fitted = file.model_copy(update={"space": file.space | file.minutes.space})
    fixed = _fixed(fitted)
    if "augment" in fitted.space:  # a finalist trains for long, where most orientations are best
        fixed["augment"] = _last(fitted, "augment")
    recipes = []
    for recipe in file.minutes.baselines:
        if (family := recipe.params.get("arch")) not in families:
            continue
        size: Params = {"shift": int(fitted.largest("shift"))}
        if family == "cnn" and width is not MLP:
            size |= {name: int(fitted.largest(name)) for name in ("cnn_blocks", "cnn_stem")}
            size["cnn_width"] = width
        known = {
            name: value for name, value in (fixed | size).items() if PARAMETERS[name].is_of(family)
        }
        params = known | recipe.params
        if keeps_limits(file, configured(file, shape, params)):
            recipes.append(recipe.model_dump(mode="json") | {"params": params})
    return recipes


def _fixed(file: StudyFile, prefix: str = "") -> Params:
    """Return what the space fixes, of the parameters whose names begin with `prefix`."""
    return {
        name: entry
        for name, entry in file.space.items()
        if name.startswith(prefix) and isinstance(entry, str | int | float)
    }


def _last(file: StudyFile, name: str) -> Value:
    """Return the space's most costly value of a parameter whose choices are listed from cheap to costly."""
    entry = file.space.get(name, PARAMETERS[name].default)
    given = entry if isinstance(entry, tuple) else (entry,)
    return [choice for choice in PARAMETERS[name].choices if choice in given][-1]


def within_limits(
    file: StudyFile, models: Mapping[Width, TrialConfig], shape: Shape
) -> tuple[StudyFile, dict[Width, TrialConfig]]:
    """Return the study with the families, and the models, that its limits leave.

    A width is left out if its deepest CNN exceeds a limit, MLPs if the smallest one does.
    """
    assert file.minutes is not None
    smallest: Params = {"arch": "mlp", "optimizer": "adamw", "lr": 1e-3}
    smallest |= {name: int(file.least(name)) for name in ("mlp_depth", "mlp_width")}
    judged = dict(models)
    if MLP in judged:
        judged[MLP] = to_config(smallest, epochs=1, patience=0, shape=shape)
    left = {width: models[width] for width in models if keeps_limits(file, judged[width])}
    if not left:
        raise UsageError(
            f"no model of study {file.name} is within --max-params and --max-latency; raise them, or give "
            "narrower CNNs, as in --set 'minutes.cnn_widths=[4, 8]'"
        )
    families = [
        family for family in searched_families(file) if family in {m.family for m in left.values()}
    ]
    space = file.minutes.space | {"arch": tuple(families)}
    minutes = file.minutes.model_copy(update={"space": space})
    is_as_before = families == searched_families(file)
    return file if is_as_before else file.model_copy(update={"minutes": minutes}), left


def keeps_limits(file: StudyFile, config: TrialConfig) -> bool:
    """Return whether a model is within the study's limits of size and latency, which is measured here."""
    try:
        check_size(config.model, file.search.max_params)
        check_latency(config.model, file.search.max_latency_ms)
    except TooCostly:
        return False
    return True
