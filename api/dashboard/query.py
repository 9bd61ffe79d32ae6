"""What the dashboard can be asked for, and the addresses of what else it could show."""

from typing import Annotated, Literal
from urllib.parse import urlencode

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from api.metrics.hires_by_quarter import HiresByQuarterQuery
from api.metrics.schemas import Paging

# A page holds a year as companies have them, about 900 rows, so that nobody turns pages in it.
MAX_ROWS = 1000

Search = Annotated[
    str,
    StringConstraints(pattern=r"^[^\x00]*$", max_length=200),
    AfterValidator(lambda text: " ".join(text.split())),
]


class DashboardQuery(Paging, HiresByQuarterQuery):
    """What the dashboard is asked for; whatever others have put into its address is left alone."""

    model_config = ConfigDict(extra="ignore")

    limit: int = Field(MAX_ROWS, ge=1, le=MAX_ROWS)
    sort: Literal["name", "hires"] = "name"
    search: Search = ""

    @property
    def is_narrowed(self) -> bool:
        """Whether it asks for a part of a year."""
        return bool(self.department or self.job or self.search)

    def link(self, **changes: object) -> str:
        """Return the address of the same with changes, from its first row unless they say from which."""
        changed = self.model_copy(update={"offset": 0, **changes})
        return "?" + urlencode({"year": changed.year} | changed.model_dump(exclude_defaults=True), doseq=True)
