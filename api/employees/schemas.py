"""What POST /employees answers."""

from pydantic import BaseModel, Field

from api.employees.hires import HIRES


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
    rejected: list[RejectedRecord] = Field(description="Records that were kept apart; only with on_error=continue.")
    repeated_ids: list[RepeatedId] = Field(description="Ids that several accepted records share.")
    note: str = Field("Stored. The metrics follow with the pipeline's next build.")


class BatchAccepted(Receipt):
    """A batch that is stored."""

    load_id: int = Field(description="The batch's number, in raw.loads and in the pipeline's UI.", examples=[42])
