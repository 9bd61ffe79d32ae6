-- A hire that falls between two quarters or months, or into two of them, would be
-- missing from the metrics or be in them twice. A build of what is new counts all hires
-- only while that takes some hundredths of a second. Beyond, it sees that no quarter
-- has fewer than the new loads alone bring, and that its months sum to it; the tests of
-- each night count them all.
{% test quarters_add_up(model, checked) %}

{% set counts_all = not tests_only_new_loads() or is_small(checked) %}

with

loads as (

    select * from {{ ref('loads') }}

),

in_scope as (

    select load_id
    from loads
    where {{ in_test_scope() }}

),

hires as (

    select * from {{ ref('hired_employees') }}

),

qualifying as (

    -- What is counted is asked in the aggregate: as conditions of rows the planner
    -- would expect few of them, and sort all.
    select
        hired_year as year,
        hired_quarter as quarter,
        department_id,
        job_id,
        count(*) filter (
            where
                hired_year = date_part('year', hired_at at time zone 'UTC')
                and hired_month = date_part('month', hired_at at time zone 'UTC')
                and hired_quarter = (hired_month + 2) / 3
        ) as hired
    from hires
    {% if not counts_all %}
    where {{ is_of_load_in('in_scope', true) }}
    {% endif %}
    group by hired_year, hired_quarter, department_id, job_id

),

counted as (

    select * from {{ model }}

)

select
    year,
    quarter,
    department_id,
    job_id,
    counted.hired as counted,
    counted.month_1 + counted.month_2 + counted.month_3 as by_month,
    qualifying.hired as qualifying
from counted
full join qualifying using (year, quarter, department_id, job_id)
where
    coalesce(counted.hired, 0)
    {{ '<>' if counts_all else '<' }} coalesce(qualifying.hired, 0)
    or counted.month_1 + counted.month_2 + counted.month_3 <> counted.hired

{% endtest %}
