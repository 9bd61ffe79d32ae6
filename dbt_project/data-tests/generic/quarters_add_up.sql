-- A hire that falls between two quarters, or into two of them, would be missing from
-- the metrics or be in them twice.
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

named as (

    select distinct
        hired_year as year,
        hired_quarter as quarter,
        department_id,
        job_id
    from checked
    where reasons = '[]' and {{ is_of_load_in('in_scope', tests_only_new_loads()) }}

),

qualifying as (

    {% if tests_only_new_loads() %}
    select
        named.year,
        sum(hires.hired) as hired
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
    group by named.year
    {% else %}
    select
        date_part('year', hired_at at time zone 'UTC') as year,
        count(*) as hired
    from hires
    group by date_part('year', hired_at at time zone 'UTC')
    {% endif %}
),

counted as (

    select
        year,
        sum(hired) as hired
    from {{ model }}
    {{
        'inner join named using (year, quarter, department_id, job_id)'
        if tests_only_new_loads() else ''
    }}
    group by year

)

select
    year,
    counted.hired as counted,
    qualifying.hired as qualifying
from counted
full join qualifying using (year)
where coalesce(counted.hired, 0) <> coalesce(qualifying.hired, 0)

{% endtest %}
