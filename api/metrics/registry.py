"""Which metrics there are: those that the modules of this package define."""

import importlib
import pkgutil
from types import ModuleType

import api.metrics
from api.metrics.metric import Metric


def discover(package: ModuleType) -> tuple[Metric, ...]:
    """Return every Metric that a module of a package defines, in the order of the modules' names.

    Raises:
        ValueError: two of them have one address, or one is not complete; the message names it.
    """
    found: dict[str, Metric] = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")):
        for value in vars(importlib.import_module(name)).values():
            # One that another module imports is the same object.
            if isinstance(value, Metric) and found.setdefault(value.slug, value) is not value:
                raise ValueError(f"{name}: another metric has the slug {value.slug}")
    return tuple(found.values())


METRICS = discover(api.metrics)
