"""The generated sample: always the same, two years of hires, with every kind of bad record that the rules know."""

from pathlib import Path

import pytest

from deploy.local.sample import HIRES, sample, write_sample
from tests import oracle


def test_it_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_sample(tmp_path / name)

    files = {path.name: path.read_bytes() for path in (tmp_path / "first").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "second").iterdir()}
    assert set(files) == {"departments.csv", "jobs.csv", "hired_employees.csv"}


def test_it_has_two_thousand_hires_of_two_years_most_of_which_count() -> None:
    frames = {name: frame.astype("string").fillna("") for name, frame in sample().items()}
    counted = oracle.counted(frames["departments"], frames["jobs"], frames["hired_employees"])

    assert HIRES == 2000
    assert 0.95 * HIRES < len(counted) < HIRES
    assert set(counted["year"]) == {2021, 2022}


@pytest.mark.parametrize("column", ["name", "datetime", "department_id", "job_id"])
def test_some_hires_lack_a_field(column: str) -> None:
    assert sample()["hired_employees"][column].isna().sum() == 12


def test_some_hires_are_repeated_have_unknown_references_or_an_invalid_date() -> None:
    frames = sample()
    hires = frames["hired_employees"]

    assert hires["id"].duplicated().sum() == 10
    assert not set(hires["department_id"].dropna()) <= set(frames["departments"]["id"].astype(str))
    assert not set(hires["job_id"].dropna()) <= set(frames["jobs"]["id"].astype(str))
    assert {"2021-02-30T10:00:00Z", "31/12/2021", "soon"} <= set(hires["datetime"].dropna())


def test_names_have_commas_quotes_and_several_scripts() -> None:
    names = "".join(sample()["hired_employees"]["name"].dropna())

    assert 'Garcia, Maria "Mía"' in names
    assert all(any(low <= character <= high for character in names) for low, high in ("Ая", "一龥", "את", "가힣", "Αω"))


def test_one_department_hires_nobody_which_the_mean_has_to_include() -> None:
    frames = sample()

    assert set(frames["departments"]["id"].astype(str)) - set(frames["hired_employees"]["department_id"].dropna())
