"""What POST /employees is asked, and what it answers."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.employees.hires import HIRES

OnError = Literal["abort", "continue"]


class BatchQuery(BaseModel):
    """How a batch is to be taken."""

    # A misspelled parameter would otherwise store, or refuse, what was not meant.
    model_config = ConfigDict(extra="forbid")

    on_error: OnError = Field(
        "abort",
        description="What a record that breaks a rule does to the others: nothing is stored, or the good ones are.",
    )


class WrongField(BaseModel):
    """What is wrong with a field, or with a record as a whole."""

    pointer: str = Field(description="JSON pointer into the body.", examples=["/1/job_id"])
    detail: str = Field(description="What is wrong, in words.", examples=[HIRES.rules["job_id"]])


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
    waiting: int | None = Field(
        description="How many of them refer to a department or job that the pipeline's last build does not know: these "
        "count as soon as it arrives. null where that cannot be told.",
        examples=[1],
    )
    rejected: list[RejectedRecord] = Field(description="Records that were kept apart; only with on_error=continue.")
    repeated_ids: list[RepeatedId] = Field(description="Ids that several accepted records share.")
    note: str = Field(
        description="When the hires count.", examples=["Stored. The metrics follow with the pipeline's next build."]
    )


class BatchAccepted(Receipt):
    """A batch that is stored."""

    load_id: int = Field(description="The batch's number, in raw.loads and in the pipeline's UI.", examples=[42])
