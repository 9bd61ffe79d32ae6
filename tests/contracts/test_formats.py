"""Formats of dates that a contract may declare: never two that read the same text in two ways."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from contracts import Column, LogicalType
from contracts.__main__ import problems as problems_of_the_contract
from contracts.formats import ISO_8601, problems, read_datetime
from contracts.rules import Reason, parse
from contracts.tables import CONTRACT, ContractError, read_contract

MOMENT = Column("moment", LogicalType.TIMESTAMP)

directives = st.permutations(["%d", "%m", "%Y"]).map(list)
times = st.sampled_from([[], ["%H", "%M"], ["%H", "%M", "%S"]])
literals = st.sampled_from(["", "", "/", "/", "-", "-", ", "])


@st.composite
def formats(draw: st.DrawFn) -> str:
    first, *others = draw(directives) + draw(times)
    return first + "".join(draw(literals) + directive for directive in others)


def declaring(tmp_path: Path, value: object, column: str = "datetime") -> Path:
    """Write the contract with formats for a column of hired_employees."""
    contract = yaml.safe_load(CONTRACT.read_text())
    (hires,) = [table for table in contract["schema"] if table["name"] == "hired_employees"]
    (declared,) = [each for each in hires["properties"] if each["name"] == column]
    declared["customProperties"] = [{"property": "formats", "value": value}]
    path = tmp_path / "contract.yaml"
    path.write_text(yaml.safe_dump(contract))
    return path


def test_a_column_has_the_formats_that_the_contract_declares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = declaring(tmp_path, ["%d/%m/%Y", "%d/%m/%Y %H:%M"])
    (column,) = [column for column in read_contract(path)[2].columns if column.logical_type is LogicalType.TIMESTAMP]
    assert column.formats == ("%d/%m/%Y", "%d/%m/%Y %H:%M")
    monkeypatch.setattr("contracts.__main__.CONTRACT", path)
    assert problems_of_the_contract() == []


def test_a_single_format_needs_no_list(tmp_path: Path) -> None:
    assert read_contract(declaring(tmp_path, "%d/%m/%Y"))[2].columns[2].formats == ("%d/%m/%Y",)


@pytest.mark.parametrize(
    ("value", "column", "message"),
    [
        (["%d/%m/%y"], "datetime", "%y, which is ambiguous"),
        (["%d %b %Y"], "datetime", "%b, which is not one of"),
        (["%d/%m"], "datetime", "has to have %d, %m and %Y"),
        (["%d/%m/%Y"], "name", "formats are for columns of logicalType timestamp"),
    ],
)
def test_a_format_that_cannot_be_followed_fails_with_a_sentence_that_names_the_column(
    tmp_path: Path, value: list[str], column: str, message: str
) -> None:
    with pytest.raises(ContractError, match=f"^hired_employees.{column}: .*{message}"):
        read_contract(declaring(tmp_path, value, column))


@pytest.mark.parametrize(
    "declared",
    ["", "%", "100%", "%d/%m", "%d/%m/%Y %H", "%d/%m/%Y %M", "%d/%m/%Y/%d", "%d'%m'%Y", "%d\n%m\n%Y", " %d/%m/%Y",
     "%d/%m/%Y ", "%d9%m9%Y", "%d/%m/%Y %I:%M", "%d/%m/%Y %H:%M %z", "%%d/%m/%Y", "%d[%m]%Y", "%d\\%m\\%Y"],
)  # fmt: skip
def test_only_numbers_and_usual_separators_make_a_format(declared: str) -> None:
    (problem,) = problems([declared])
    assert problem.startswith(f"format {declared!r} ")


@pytest.mark.parametrize(
    "declared",
    [
        ("%d/%m/%Y", "%m/%d/%Y"), ("%Y-%d-%m",), ("%Y-%d-%m %H:%M",), ("%Y-%d-%mT%H:%M:%S",), ("%d%m%Y", "%Y%m%d"),
        ("%H:%M %d/%m/%Y", "%M:%H %m/%d/%Y"),
    ],
)  # fmt: skip
def test_formats_that_read_one_text_in_two_ways_are_refused_together(declared: tuple[str, ...]) -> None:
    """The day would be mistaken for the month, and hires counted in another quarter."""
    (problem,) = problems(declared)
    assert problem.endswith("cannot be told apart")


@given(
    declared=st.lists(formats(), min_size=1, max_size=3), written=formats(), moment=st.datetimes(datetime(1000, 1, 1))
)
def test_no_text_is_read_in_two_ways(declared: list[str], written: str, moment: datetime) -> None:
    for each in (*declared, written, *ISO_8601):
        text = f"{moment:{each}}"
        for sample in (text, re.sub(r"\b0(\d)\b", r"\1", text)):
            read = {read_datetime(sample, other) for other in declared} | {parse(MOMENT, sample)}
            assert problems(declared) or len(read - {None, Reason.NOT_A_DATETIME}) <= 1


@given(declared=formats(), moment=st.datetimes(datetime(1000, 1, 1), timezones=st.just(UTC)))
def test_a_datetime_written_in_a_format_is_read_by_it(declared: str, moment: datetime) -> None:
    kept = {"microsecond": 0} if "%S" in declared else {"second": 0, "microsecond": 0}
    kept = kept if "%M" in declared else {**kept, "hour": 0, "minute": 0}
    assert read_datetime(f"{moment:{declared}}", declared) == moment.replace(**kept)
