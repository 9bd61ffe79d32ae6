-- A hire in no quarter or month, or in two, would be missing from the metrics or be
-- counted twice. An incremental build counts all hires only while that takes some
-- hundredths of a second. In a larger table it checks that no quarter has fewer hires
-- than the new loads alone contain, and that its months sum to it; the nightly tests
-- count all hires.
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

    -- Filters are in the aggregates: with conditions on rows the planner would expect
    -- few of them, and sort them all.
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
