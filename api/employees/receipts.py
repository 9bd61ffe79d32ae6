"""What is wrong with a batch, what it is answered, and what is kept of the records that are rejected. No input, no SQL.

None of it repeats a value that came in, but for ids: values may be names of people.
"""

import base64
import json
import re
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api.employees.body import TOO_DEEP, RepeatedKeys, elements, parse, unreadable
from api.employees.hires import MAX_RECORDS, HireModel
from api.employees.references import KnownIds, Waiting, find_waiting
from api.employees.schemas import OnError, Receipt, RejectedRecord, RepeatedId, WrongField
from api.protocol import problems

# As many as the loader keeps of a record of an object.
RAW_BYTES_KEPT = 65_536
# Of what hires wait for, so much is named.
MAX_NAMED = 10
STORED = "Stored. The metrics follow with the pipeline's next build"

# What JSON has and Postgres' text has not.
_not_text = re.compile(r"[\x00\ud800-\udfff]")

Error = Mapping[str, Any]


class Judged(NamedTuple):
    """A batch that can be stored: its records, the answer without the number of its load, what is kept apart."""

    batch: Sequence[Any]
    answer: str
    rejections: list[dict[str, Any]]


def judge(body: bytes, hires: HireModel, on_error: OnError, known: KnownIds | None) -> Judged:
    """Read and check a batch.

    Args:
        body: the batch as it was sent.
        hires: what its records have to be.
        on_error: what a record that breaks a rule does to the others.
        known: the ids that hires may refer to without waiting, if these are known.

    Raises:
        RequestValidationError: it is no batch, or a record breaks a rule and `on_error` is "abort".
    """
    batch = parse(body, hires.max_tokens)
    errors = find_errors(batch, hires)
    wrong = by_record(errors)
    if wrong is None or (wrong and on_error == "abort"):
        raise RequestValidationError(errors)
    answer = receipt(batch, wrong, hires, known).model_dump_json()
    try:
        kept = rejections(body, batch, wrong, hires.rules)
    except RecursionError:  # which takes a few calls more than reading it
        raise unreadable(TOO_DEEP) from None
    return Judged(batch, answer, kept)


def find_errors(batch: Any, hires: HireModel) -> list[Error]:
    """Return everything that is wrong with what should be a batch, in pydantic's form; its place begins with "body"."""
    errors: list[Error] = []
    try:
        _validate(batch, hires)
    except ValidationError as error:
        # Twice the fields that a batch can have: what has more was never meant as hires, and listing it takes long.
        most = 2 * MAX_RECORDS * len(hires.rules)
        if error.error_count() > most:
            return [{"type": "too_much", "loc": ("body",), "msg": f"has more than {most:,} wrong fields"}]
        found = error.errors(include_url=False, include_context=False, include_input=False)
        errors = [_in_words(each, hires.rules) for each in found]
        if by_record(errors) is None:
            return errors
    repeated = [
        {"type": "repeated", "loc": ("body", index, key), "msg": "is given more than once"}
        for index, record in enumerate(batch)
        if type(record) is RepeatedKeys
        for key in record.repeated
    ]
    return sorted([*errors, *repeated], key=lambda error: error["loc"][1]) if repeated else errors


def _validate(batch: Any, hires: HireModel) -> None:
    try:
        hires.plain_batch.validate_python(batch)
    except ValidationError:
        # It knows only that something is not plain, which may still be right.
        hires.batch.validate_python(batch)


def by_record(errors: Sequence[Error]) -> dict[int, list[Error]] | None:
    """Return the errors by the index of their record, or None where one is about the batch as a whole."""
    records = defaultdict(list)
    for error in errors:
        if len(error["loc"]) == 1:
            return None
        records[error["loc"][1]].append(error)
    return records


def receipt(
    batch: Sequence[Any], wrong: Mapping[int, Sequence[Error]], hires: HireModel, known: KnownIds | None
) -> Receipt:
    """Return the answer to a batch.

    Args:
        batch: its records.
        wrong: what is wrong with those that are kept apart, by index.
        hires: what its records have to be.
        known: the ids that hires may refer to without waiting, if these are known.
    """
    accepted = [record for index, record in enumerate(batch) if index not in wrong] if wrong else batch
    waiting = None if known is None else find_waiting(accepted, hires.references, known)
    return Receipt(
        accepted=len(accepted),
        waiting=waiting.hires if waiting else None,
        rejected=[
            RejectedRecord(record=index + 1, errors=[WrongField(**place) for place in problems.places(errors)])
            for index, errors in wrong.items()
        ],
        repeated_ids=_repeated_ids(batch, wrong, hires.key),
        note=_note(len(accepted), waiting, [each.noun for each in hires.references]),
    )


def _note(accepted: int, waiting: Waiting | None, nouns: Sequence[str]) -> str:
    """Return when accepted hires count."""
    if waiting is None:
        missing = " or ".join(nouns)
        return f"{STORED}, but for hires that wait for their {missing}; whether there are any is not known right now."
    if not waiting.hires:
        return f"{STORED}."
    named = waiting.missing if len(waiting.missing) <= MAX_NAMED + 1 else waiting.missing[:MAX_NAMED]
    if named != waiting.missing:
        named = [*named, f"{len(waiting.missing) - MAX_NAMED} more"]
    names = " and ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else named[0]
    wait, count = ("waits", "it counts") if waiting.hires == 1 else ("wait", "they count")
    are, arrive = ("is", "that arrives") if len(named) == 1 else ("are", "these arrive")
    others = " The others follow with the pipeline's next build." if waiting.hires < accepted else ""
    return (
        f"Stored. {waiting.hires} of these hires {wait} for {names}, which {are} not known yet; "
        f"{count} as soon as {arrive}.{others}"
    )


def rejections(
    body: bytes, batch: Sequence[Any], wrong: Mapping[int, Sequence[Error]], fields: Container[str]
) -> list[dict[str, Any]]:
    """Return the rows for raw.rejected_records.

    Args:
        body: the batch as it was sent.
        batch: its records.
        wrong: what is wrong with them, by index.
        fields: the fields that a message may name.
    """
    if not wrong:
        return []
    return [
        {
            "record": index + 1,
            "reason": "invalid_fields",
            "message": "; ".join(_sentence(error, fields) for error in wrong[index]),
            "byte_from": element.byte_from,
            "line": element.line,
            "raw": base64.b64encode(element.raw[:RAW_BYTES_KEPT]).decode(),
            "raw_bytes": len(element.raw),
            "delivered": _readable_fields(batch[index]),
        }
        for index, element in enumerate(elements(body))
        if index in wrong
    ]


def _readable_fields(record: Any) -> dict[str, str | None] | None:
    """Return the fields of a record as text, but for those that it has twice; of what is no object, nothing."""
    if not isinstance(record, dict):
        return None
    repeated = record.repeated if isinstance(record, RepeatedKeys) else ()
    return {_storable(name): _as_text(value) for name, value in record.items() if name not in repeated}


def _as_text(value: object) -> str | None:
    match value:
        case None:
            return None
        case str() | Decimal():
            return _storable(str(value))
        case _:
            return _storable(json.dumps(value, default=str))


def _storable(text: str) -> str:
    """Return a text as Postgres can keep it, no longer than what is kept of a record."""
    return _not_text.sub("\ufffd", text[:RAW_BYTES_KEPT])


def _repeated_ids(batch: Sequence[Any], wrong: Mapping[int, Sequence[Error]], key: str) -> list[RepeatedId]:
    if not wrong and len({record[key] for record in batch}) == len(batch):
        return []
    records = defaultdict(list)
    for number, record in enumerate(batch, 1):
        if number - 1 not in wrong:
            records[record[key]].append(number)
    return [RepeatedId(id=id_, records=numbers) for id_, numbers in records.items() if len(numbers) > 1]


def _in_words(error: Any, rules: Mapping[str, str]) -> Error:
    """Say which rule was broken, where pydantic says which part of its type was."""
    place = ("body", *error["loc"])
    field = place[-1] if len(place) == 3 else ""
    if (words := rules.get(field)) and error["type"] != "missing":
        return {"type": "rule", "loc": place, "msg": words}
    return {**error, "loc": place}


def _sentence(error: Error, fields: Container[str]) -> str:
    """Return an error as text that Postgres takes: an unknown field's name is left out, which may be anything."""
    _, _, *field = error["loc"]
    (place,) = problems.places([error])
    if not field:
        return f"the record {place['detail']}"
    return f"{field[0] if field[0] in fields else 'another field'} {place['detail']}"
