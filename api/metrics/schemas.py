"""What queries and responses of metrics are made of."""

from typing import Annotated, Generic, Literal, TypeVar
from urllib.parse import urlencode

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from api.parameters import require_digits

Item = TypeVar("Item")

Year = Annotated[int, Field(ge=1900, le=2100, description="Calendar year in UTC.", examples=[2021])]

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

    year: Year = 2021


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
