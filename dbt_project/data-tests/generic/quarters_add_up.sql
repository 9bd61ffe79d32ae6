-- A hire that falls between two quarters or months, or into two of them, would be
-- missing from the metrics or be in them twice.
{% test quarters_add_up(model, checked) %}

with

loads as (

    select * from {{ ref('loads') }}

),

in_scope as (

    select load_id
    from loads
    where {{ in_test_scope() }}

),

checked as (

    select * from {{ checked }}

),

hires as (

    select * from {{ ref('hired_employees') }}

),

{% if tests_only_new_loads() %}
named as (

    select distinct
        hired_year as year,
        hired_quarter as quarter,
        department_id,
        job_id
    from checked
    where reasons = '[]' and {{ is_of_load_in('in_scope', true) }}

),

qualifying as (

    select
        named.*,
        hires.hired
    from named
    cross join lateral (
        select count(*) as hired
        from hires
        where
            hires.department_id = named.department_id
            and hires.job_id = named.job_id
            and hires.hired_year = named.year
            and hires.hired_quarter = named.quarter
    ) as hires

),

counted as (

    select *
    from {{ model }}
    inner join named using (year, quarter, department_id, job_id)

)

{% else %}
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
    group by hired_year, hired_quarter, department_id, job_id

),

counted as (

    select * from {{ model }}

)

{% endif %}
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
    coalesce(counted.hired, 0) <> coalesce(qualifying.hired, 0)
    or counted.month_1 + counted.month_2 + counted.month_3 <> counted.hired

{% endtest %}
