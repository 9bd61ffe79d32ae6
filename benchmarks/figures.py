"""A figure: a ratio by name, and what it is of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured ratio. Absolute times depend on the machine, ratios of one run far less."""

    name: str
    value: float
    meaning: str
