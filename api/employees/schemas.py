"""What a hire must look like. These are the rules that dbt applies to raw text: nothing accepted is refused there."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

# ASCII's, as Postgres trims it: no-break spaces and their like belong to the text.
WHITE_SPACE = " \t\n\r\v\f"

MOMENT = re.compile(
    r"(1[89]|2[01])[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
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


IDENTIFIER = "must be an integer from 1 to 2147483647"
RULES = {
    "id": IDENTIFIER,
    "name": "must be a string of Unicode text that is not blank and has no NUL character",
    "datetime": "must be an ISO 8601 date, or date and time, in the years 1900 to 2100 (UTC)",
    "department_id": IDENTIFIER,
    "job_id": IDENTIFIER,
}

Identifier = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
Name = Annotated[str, Field(strict=True, pattern=r"^[^\x00]*[^\x00 \t\n\r\v\f][^\x00]*$")]
# The calendar, and the years in UTC, are beyond a pattern.
Moment = Annotated[
    str,
    Field(strict=True, json_schema_extra={"pattern": rf"^[ \t\n\r\v\f]*{MOMENT.pattern}[ \t\n\r\v\f]*$"}),
    AfterValidator(require_moment),
]


@with_config(ConfigDict(extra="forbid"))
class Employee(TypedDict):
    """A hire: who, when, where and as what."""

    id: Annotated[Identifier, Field(description="A later record with the same id replaces this one.", examples=[4535])]
    name: Annotated[Name, Field(examples=["Marcelo Gonzalez"])]
    datetime: Annotated[
        Moment, Field(description="ISO 8601; without an offset it is UTC.", examples=["2021-07-27T16:02:08Z"])
    ]
    department_id: Annotated[Identifier, Field(description="May arrive later than the hire.", examples=[1])]
    job_id: Annotated[Identifier, Field(description="May arrive later than the hire.", examples=[2])]


Batch = TypeAdapter(Annotated[list[Employee], Field(min_length=1, max_length=1000)])

# The same for the OpenAPI document, where a schema has its place under components.
BATCH = Batch.json_schema(ref_template="#/components/schemas/{model}")
EMPLOYEE = BATCH.pop("$defs")["Employee"]


class WrongField(BaseModel):
    """What is wrong with a field, or with a record as a whole."""

    pointer: str = Field(description="JSON pointer into the body.", examples=["/1/job_id"])
    detail: str = Field(description="What is wrong, in words.", examples=[IDENTIFIER])


class RejectedRecord(BaseModel):
    """A record that was kept apart."""

    record: int = Field(description="Its number in the batch, from 1.", examples=[2])
    errors: list[WrongField]


class RepeatedId(BaseModel):
    """An id that more than one record of the batch has: of these, the last one counts."""

    id: int = Field(examples=[4535])
    records: list[int] = Field(description="Numbers of the records in the batch, from 1.", examples=[[1, 3]])


class Receipt(BaseModel):
    """What became of a batch, but for the number of its load."""

    accepted: int = Field(description="Records that were stored.", examples=[2])
    rejected: list[RejectedRecord] = Field(description="Records that were kept apart; only with on_error=continue.")
    repeated_ids: list[RepeatedId] = Field(description="Ids that several accepted records share.")
    note: str = Field("Stored. The metrics follow with the pipeline's next build.")


class BatchAccepted(Receipt):
    """A batch that is stored."""

    load_id: int = Field(description="The batch's number, in raw.loads and in the pipeline's UI.", examples=[42])
