"""Options of libraries for numbers, tables and plots, where the app has set them otherwise than usual."""

from __future__ import annotations

import sys
from typing import Any

_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
"""What numpy does at first."""
_OF_NUMPY = ("precision", "threshold", "edgeitems", "linewidth", "suppress", "nanstr", "infstr", "sign")
_PRINTED = dict(zip(_OF_NUMPY, (8, 1000, 3, 75, False, "nan", "inf", "-"), strict=True))
_PLAIN = (str, int, float, bool, type(None))


def capture(_: bool) -> dict[str, dict[str, Any]]:
    """Library -> its options."""
    found: dict[str, dict[str, Any]] = {}
    if (numpy := sys.modules.get("numpy")) is not None:
        printed = {name: value for name, value in numpy.get_printoptions().items() if name in _PRINTED}
        changed = {"errors": _changed(numpy.geterr(), _ERRORS), "printed": _changed(printed, _PRINTED)}
        found["numpy"] = changed if any(changed.values()) else {}
    if (config := sys.modules.get("pandas._config.config")) is not None:
        options = {name: option.defval for name, option in config._registered_options.items()}
        found["pandas"] = _changed({name: config.get_option(name) for name in options}, options)
    if (sklearn := sys.modules.get("sklearn._config")) is not None:
        found["sklearn"] = _changed(sklearn.get_config(), sklearn._global_config)
    if (matplotlib := sys.modules.get("matplotlib")) is not None:
        usual = dict(matplotlib.rcParamsDefault.items())
        usual["backend"] = dict.get(matplotlib.rcParams, "backend")  # asked for, it would be loaded
        found["matplotlib"] = _changed(dict(dict.items(matplotlib.rcParams)), usual)
    return {library: options for library, options in found.items() if options}


def _changed(now: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in now.items()
        if type(value) in _PLAIN and name in usual and value != usual[name]
    }


def release(found: dict[str, dict[str, Any]]) -> None:
    """Set them again."""
    if "numpy" in found:
        import numpy

        numpy.seterr(**found["numpy"]["errors"])
        numpy.set_printoptions(**found["numpy"]["printed"])
    if "pandas" in found:
        import pandas  # type: ignore[import-not-found,import-untyped,unused-ignore]

        for name, value in found["pandas"].items():
            pandas.set_option(name, value)
    if "sklearn" in found:
        import sklearn  # type: ignore[import-not-found,import-untyped,unused-ignore]

        sklearn.set_config(**found["sklearn"])
    if "matplotlib" in found:
        import matplotlib  # type: ignore[import-not-found,unused-ignore]

        parameters: Any = matplotlib.rcParams
        parameters.update(found["matplotlib"])
