"""Query parameters: which of them may be given more than once."""

from collections import Counter
from typing import get_origin

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel


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
