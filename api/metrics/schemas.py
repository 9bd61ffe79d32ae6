"""What queries and responses of metrics are made of."""

from typing import Annotated, Generic, Literal, TypeVar
from urllib.parse import urlencode

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from api.protocol.parameters import require_digits

Item = TypeVar("Item")

ALL_YEARS = "all"
DEFAULT_YEAR = 2021
Year = Annotated[int, Field(ge=1900, le=2100, description="Calendar year in UTC.", examples=[DEFAULT_YEAR])]
_YEAR_SCHEMA = {"type": "integer", "minimum": 1900, "maximum": 2100}
# For JSON it is one year, and a client that is generated from the document keeps giving it as a number.
_YEARS_SCHEMA = {
    "anyOf": [
        _YEAR_SCHEMA,
        {"type": "array", "items": _YEAR_SCHEMA, "minItems": 1},
        {"type": "string", "enum": [ALL_YEARS]},
    ]
}
# None of them stands for all.
Years = Annotated[
    list[Annotated[Year, BeforeValidator(require_digits)]],
    BeforeValidator(lambda years: [] if years == [ALL_YEARS] else years),
    Field(
        description=f"Calendar year in UTC. For CSV, repeat it for more, or `{ALL_YEARS}` for each year that has rows.",
        examples=[DEFAULT_YEAR],
        json_schema_extra={"default": DEFAULT_YEAR},
    ),
    WithJsonSchema(_YEARS_SCHEMA),
]

# Postgres' text has no NUL character, so that no name can have one either.
Names = Annotated[
    list[Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]],
    AfterValidator(lambda names: sorted({name for name in names if name})),
]
Format = Annotated[
    Literal["json", "csv"] | None,
    Field(
        description="Goes before the header Accept. CSV is always the whole result: limit and offset are not for it."
    ),
]


class MetricQuery(BaseModel):
    """What a metric can be asked for; its SQL has these parameters under the same names."""

    # A misspelled parameter would otherwise get an answer to another question.
    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _require_digits(cls, value: object, info: ValidationInfo) -> object:
        return require_digits(value) if cls.model_fields[str(info.field_name)].annotation is int else value

    def query_string(self, *without: str) -> str:
        """Return these parameters, without some, as the one query string of all that mean the same."""
        return urlencode(self.model_dump(exclude=set(without), exclude_none=True), doseq=True)


class YearQuery(MetricQuery):
    """The year of a metric."""

    year: Year = DEFAULT_YEAR


class SeveralYears(BaseModel):
    """The years that a file can be asked for, in place of the one year of a metric."""

    year: Years = [DEFAULT_YEAR]


class Paging(BaseModel):
    """Which page of the rows; the API adds it to the query of a metric that has pages."""

    limit: int = Field(100, ge=1, le=1000, description="Rows of a page.")
    offset: int = Field(0, ge=0, le=2**31 - 1, description="Rows before the page.")

    def starts(self, total: int) -> dict[str, int]:
        """Return where the first and last page of `total` rows, at least one, and this page's neighbours begin."""
        last = (total - 1) // self.limit * self.limit
        starts = {"first": 0, "last": last}
        if self.offset > 0:
            # From beyond the end, the page before is the last one that has rows.
            starts["prev"] = min(max(self.offset - self.limit, 0), last)
        if self.offset + self.limit < total:
            starts["next"] = self.offset + self.limit
        return starts


class Formatted(BaseModel):
    """In which format; the API adds it to the query of every metric."""

    format: Format = None


class FileOptions(BaseModel):
    """How a file is to be; the API adds it to the query of every metric."""

    bom: bool = Field(
        False, description="Begin CSV with a byte order mark, by which Excel knows UTF-8. JSON never has one."
    )


class MetricResponse(BaseModel, Generic[Item]):
    """The rows of a metric."""

    items: list[Item]


class YearResponse(BaseModel, Generic[Item]):
    """The rows of a metric of a year."""

    year: int
    items: list[Item]


class PagedResponse(BaseModel):
    """Which page of the rows it is. A metric whose response is one has pages."""

    total: int = Field(description="Rows that match, on all pages.")
    limit: int
    offset: int
