"""What is wrong with a batch, what it is answered, and what is kept of the records that are rejected. No input, no SQL.

None of it repeats a value that came in, but for ids: values may be names of people.
"""

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from api import problems
from api.employees.body import elements
from api.employees.schemas import RULES, Batch, Receipt, RejectedRecord, RepeatedId, WrongField

# As many as the loader keeps of a record of an object.
RAW_BYTES_KEPT = 65_536
# Twice the fields that a batch can have: what has more was never meant as hires, and listing it all takes long.
MOST_ERRORS = 10_000

Error = Mapping[str, Any]


def find_errors(batch: Any) -> list[Error]:
    """Return everything that is wrong with what should be a batch, in pydantic's form; its place begins with "body"."""
    try:
        Batch.validate_python(batch)
    except ValidationError as error:
        if error.error_count() > MOST_ERRORS:
            return [{"type": "too_much", "loc": ("body",), "msg": f"has more than {MOST_ERRORS:,} wrong fields"}]
        return [_in_words(each) for each in error.errors(include_url=False, include_context=False, include_input=False)]
    return []


def by_record(errors: Sequence[Error]) -> dict[int, list[Error]] | None:
    """Return the errors by the index of their record, or None where one is about the batch as a whole."""
    records = defaultdict(list)
    for error in errors:
        if len(error["loc"]) == 1:
            return None
        records[error["loc"][1]].append(error)
    return records


def receipt(batch: Sequence[Any], wrong: Mapping[int, Sequence[Error]]) -> Receipt:
    """Return the answer to a batch of which the records named in `wrong` are kept apart."""
    return Receipt(
        accepted=len(batch) - len(wrong),
        rejected=[
            RejectedRecord(record=index + 1, errors=[WrongField(**place) for place in problems.places(errors)])
            for index, errors in wrong.items()
        ],
        repeated_ids=_repeated_ids(batch, wrong),
    )


def rejections(body: bytes, wrong: Mapping[int, Sequence[Error]]) -> list[dict[str, Any]]:
    """Return the rows for raw.rejected_records."""
    if not wrong:
        return []
    return [
        {
            "record": index + 1,
            "reason": "invalid_fields",
            "message": "; ".join(_sentence(error) for error in wrong[index]),
            "byte_from": element.byte_from,
            "line": element.line,
            "raw": base64.b64encode(element.raw[:RAW_BYTES_KEPT]).decode(),
            "raw_bytes": len(element.raw),
        }
        for index, element in enumerate(elements(body))
        if index in wrong
    ]


def _repeated_ids(batch: Sequence[Any], wrong: Mapping[int, Sequence[Error]]) -> list[RepeatedId]:
    records = defaultdict(list)
    for number, record in enumerate(batch, 1):
        if number - 1 not in wrong:
            records[record["id"]].append(number)
    return [RepeatedId(id=id_, records=numbers) for id_, numbers in records.items() if len(numbers) > 1]


def _in_words(error: Any) -> Error:
    """Say which rule was broken, where pydantic says which part of its type was."""
    place = ("body", *error["loc"])
    field = place[-1] if len(place) == 3 else None
    if field in RULES and error["type"] != "missing":
        return {"type": "rule", "loc": place, "msg": RULES[field]}
    return {**error, "loc": place}


def _sentence(error: Error) -> str:
    """Return an error as text that Postgres takes: an unknown field's name is left out, which may be anything."""
    _, _, *field = error["loc"]
    (place,) = problems.places([error])
    if not field:
        return f"the record {place['detail']}"
    return f"{field[0] if field[0] in RULES else 'another field'} {place['detail']}"
