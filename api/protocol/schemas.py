"""What the answers of several addresses are made of."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator

# In UTC, whatever the time zone of the database's session.
Moment = Annotated[datetime, AfterValidator(lambda moment: moment.astimezone(UTC))]
