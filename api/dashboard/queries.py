"""The SQL of what the dashboard shows around the metrics."""

from typing import NamedTuple

from api.database import Database

SURROUNDINGS = """
with hires as (
    select department_id, department, job, q1, q2, q3, q4
    from marts.hires_by_quarter
    where year = %(year)s
)

select
    array(select distinct year from marts.hires_by_quarter order by year desc),
    array(select distinct department collate "C" as name from hires order by name limit %(choices)s),
    array(select distinct job collate "C" as name from hires order by name limit %(choices)s),
    coalesce(sum(q1 + q2 + q3 + q4), 0)::bigint,
    count(distinct department_id),
    coalesce(max(greatest(q1, q2, q3, q4)), 0)
from hires
"""


class Surroundings(NamedTuple):
    """What there is to choose from, as far as was asked for, and the measures of a year."""

    years: list[int]
    departments: list[str]
    jobs: list[str]
    hires: int
    hiring_departments: int
    most_in_a_quarter: int


async def surroundings(database: Database, year: int, choices: int) -> Surroundings:
    """Return the years that have hires, and one year's measures and so many of its departments and jobs."""
    return Surroundings(*await database.read(SURROUNDINGS, {"year": year, "choices": choices}))
