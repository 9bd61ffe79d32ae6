"""Parameters: what every number is, and which query parameters may be given, and how often."""

import re
from collections import Counter
from typing import get_origin

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from pydantic_core import PydanticCustomError

DIGITS = re.compile("[0-9]+").fullmatch


def require_digits(value: object) -> object:
    """Take a number in digits only: Pydantic would also take " 2021", "+2021" and "2_021", and digits of others.

    Raises:
        PydanticCustomError: it has other characters.
    """
    if isinstance(value, str) and not DIGITS(value):
        raise PydanticCustomError("digits", "must be a whole number, in digits")
    return value


async def refuse_parameters(request: Request) -> None:
    """Refuse a request that has query parameters, at an address that knows none.

    Raises:
        RequestValidationError: names them.
    """
    if names := request.query_params.keys():
        raise RequestValidationError(
            [{"type": "extra_forbidden", "loc": ("query", name), "msg": "is not known"} for name in names]
        )


def require_single(request: Request, parameters: BaseModel) -> None:
    """Refuse a request that gives a parameter twice that has one value: another reader might take the other one.

    Raises:
        RequestValidationError: names these parameters.
    """
    if repeated := repeated_parameters(request, type(parameters)):
        raise RequestValidationError(
            [{"type": "repeated", "loc": ("query", name), "msg": "is given more than once"} for name in repeated]
        )


def repeated_parameters(request: Request, model: type[BaseModel]) -> list[str]:
    """Return which parameters of a request are given more than once and are no lists in a model."""
    count = Counter(name for name, _ in request.query_params.multi_items())
    lists = {name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}
    return [name for name, times in count.items() if times > 1 and name not in lists]
