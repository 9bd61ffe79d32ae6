"""The SQL of the metrics. Postgres builds the JSON: rows never become Python objects on their way out."""

from api.database import Database
from api.metrics.schemas import Selection

# Not materialized: the page is then read off the mart's index in its order, and the rest is counted, not copied.
HIRES_BY_QUARTER = """
with matching as not materialized (
    select department, job, q1, q2, q3, q4, department_id, job_id
    from marts.hires_by_quarter
    where
        year = %(year)s
        and (cardinality(%(department)s::text[]) = 0 or department = any(%(department)s::text[]))
        and (cardinality(%(job)s::text[]) = 0 or job = any(%(job)s::text[]))
),

page as (
    select *
    from matching
    order by department collate "C", job collate "C", department_id, job_id
    limit %(limit)s offset %(offset)s
),

items as (
    select
        json_agg(
            json_build_object(
                'department', department, 'job', job, 'Q1', q1, 'Q2', q2, 'Q3', q3, 'Q4', q4
            )
            order by department collate "C", job collate "C", department_id, job_id
        ) as items
    from page
),

total as (
    select count(*) as total
    from matching
)

select
    total,
    json_build_object(
        'year', %(year)s::integer,
        'items', coalesce(items, '[]'),
        'total', total,
        'limit', %(limit)s::integer,
        'offset', %(offset)s::integer
    )::text
from items
cross join total
"""

# When nobody is above the mean, everybody is at it: every department hired the same number, and the mean is what
# any one of them hired. Either all of them have rows in hires_by_quarter or none has, and then the mean is 0.
DEPARTMENTS_ABOVE_MEAN = """
with above as (
    select id, department, hired, mean
    from marts.departments_above_mean
    where year = %(year)s
),

any_department as (
    select sum(q1 + q2 + q3 + q4)::double precision as hired
    from marts.hires_by_quarter
    where year = %(year)s
    group by department_id
    limit 1
)

select
    json_build_object(
        'year', %(year)s::integer,
        'mean', coalesce((select min(mean) from above), (select hired from any_department), 0),
        'items', coalesce(
            json_agg(
                json_build_object('id', id, 'department', department, 'hired', hired)
                order by hired desc, id
            ),
            '[]'
        )
    )::text
from above
"""


async def hires_by_quarter(database: Database, selection: Selection) -> tuple[int, str]:
    """Return how many rows match the selection, and its page as JSON."""
    total, body = await database.read(HIRES_BY_QUARTER, selection.model_dump())
    return total, body


async def departments_above_mean(database: Database, year: int) -> str:
    """Return the departments above the mean, and the mean, as JSON."""
    (body,) = await database.read(DEPARTMENTS_ABOVE_MEAN, {"year": year})
    return str(body)
