"""What the metrics are asked for and what they answer."""

from typing import Annotated, Literal
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

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


class YearOnly(BaseModel):
    """The year of a metric."""

    # A misspelled parameter would otherwise get an answer to another question.
    model_config = ConfigDict(extra="forbid")

    year: Year = 2021

    def query(self, *without: str) -> str:
        """Return these parameters, without some, as the one query string of all that mean the same."""
        return urlencode(self.model_dump(exclude=set(without), exclude_none=True), doseq=True)


class AnyYear(YearOnly):
    """The year of a metric, and in which format."""

    format: Format = None


class Page(YearOnly):
    """Which hires by quarter, and which page of them."""

    department: Names = Field([], description="Exact name of a department; repeat it for more, empty for all.")
    job: Names = Field([], description="Exact name of a job; repeat it for more, empty for all.")
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


class Selection(Page):
    """Which hires by quarter, which page of them, and in which format."""

    format: Format = None


class QuarterlyHires(BaseModel):
    """Hires for a job in a department, by quarter of the year."""

    department: str
    job: str
    Q1: int
    Q2: int
    Q3: int
    Q4: int


class HiresByQuarter(BaseModel):
    """One page of the hires of a year."""

    year: int
    items: list[QuarterlyHires]
    total: int = Field(description="Rows that match, on all pages.")
    limit: int
    offset: int

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "year": 2021,
                "items": [
                    {"department": "Staff", "job": "Manager", "Q1": 2, "Q2": 1, "Q3": 0, "Q4": 2},
                    {"department": "Staff", "job": "Recruiter", "Q1": 3, "Q2": 0, "Q3": 7, "Q4": 11},
                ],
                "total": 2,
                "limit": 100,
                "offset": 0,
            }
        }
    )


class DepartmentAboveMean(BaseModel):
    """A department that hired more than the mean."""

    id: int
    department: str
    hired: int


class DepartmentsAboveMean(BaseModel):
    """The departments that hired more than the mean of all departments in a year."""

    year: int
    mean: float = Field(description="Hires a department, over all departments, also those without any.")
    items: list[DepartmentAboveMean]

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "year": 2021,
                "mean": 11.5,
                "items": [
                    {"id": 7, "department": "Staff", "hired": 45},
                    {"id": 9, "department": "Supply Chain", "hired": 12},
                ],
            }
        }
    )
