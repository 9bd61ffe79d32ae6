"""What a hire must look like. These are the rules that dbt applies to raw text: nothing accepted is refused there."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

# ASCII's, as Postgres trims it: no-break spaces and their like belong to the text.
WHITE_SPACE = " \t\n\r\v\f"

MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?"
    r"(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)?)?"
)
FIRST = datetime(1900, 1, 1, tzinfo=UTC)
END = datetime(2101, 1, 1, tzinfo=UTC)


def require_moment(text: str) -> str:
    """Return a text that is a moment of the years 1900 to 2100, as it came.

    Raises:
        ValueError: it is not.
    """
    trimmed = text.strip(WHITE_SPACE)
    if MOMENT.fullmatch(trimmed) is None:
        raise ValueError("not ISO 8601")
    # Digits beyond microseconds are cut off, as dbt does: rounded up they could reach another year.
    moment = datetime.fromisoformat(trimmed)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if not FIRST <= moment < END:
        raise ValueError("not in the years 1900 to 2100")
    return text


def in_words(message: str) -> WrapValidator:
    """Replace whatever is wrong with a value by one message, which does not repeat the value."""

    def validate(value: Any, inner: Callable[[Any], Any]) -> Any:
        try:
            return inner(value)
        except ValidationError:
            raise PydanticCustomError("rule", "{message}", {"message": message}) from None

    return WrapValidator(validate)


Identifier = Annotated[
    int,
    Field(strict=True, ge=1, le=2**31 - 1),
    in_words("must be an integer from 1 to 2147483647"),
]
Name = Annotated[
    str,
    Field(strict=True, pattern=r"^[^\x00]*[^\x00 \t\n\r\v\f][^\x00]*$"),
    in_words("must be a string of Unicode text that is not blank and has no NUL character"),
]
Moment = Annotated[
    str,
    Field(strict=True),
    AfterValidator(require_moment),
    in_words("must be an ISO 8601 date, or date and time, in the years 1900 to 2100 (UTC)"),
]


class Employee(BaseModel):
    """A hire: who, when, where and as what."""

    model_config = ConfigDict(extra="forbid")

    id: Identifier = Field(description="A later record with the same id replaces this one.", examples=[4535])
    name: Name = Field(examples=["Marcelo Gonzalez"])
    datetime: Moment = Field(description="ISO 8601; without an offset it is UTC.", examples=["2021-07-27T16:02:08Z"])
    department_id: Identifier = Field(description="May arrive later than the hire.", examples=[1])
    job_id: Identifier = Field(description="May arrive later than the hire.", examples=[2])


Batch = TypeAdapter(Annotated[list[Employee], Field(min_length=1, max_length=1000)])


class BatchAccepted(BaseModel):
    """A batch that is stored, whole."""

    load_id: int = Field(description="The batch's number in raw.loads.", examples=[42])
    accepted: int = Field(description="Records of the batch.", examples=[1])
