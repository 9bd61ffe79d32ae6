-- The metrics before they are published: what the gates look at. Quarters have their
-- months in the same row: a row per month would be three times as many to count and
-- to read in each build.
-- depends_on: {{ ref('hired_employees') }}
{% set counts = {
    'hired': 'true',
    'month_1': 'hires.hired_month % 3 = 1',
    'month_2': 'hires.hired_month % 3 = 2',
    'month_3': 'hires.hired_month % 3 = 0',
} %}
{{ config(
    materialized='differential',
    unique_key=['year', 'quarter', 'department_id', 'job_id'],
    meta={'incremental': true},
) }}

with

checked as (

    select * from {{ ref('checked_hired_employees') }}

),

{% if is_incremental_build() %}
hires as (

    select * from {{ ref('hired_employees') }}

),

named as (

    select distinct
        checked.hired_year as year,
        checked.hired_quarter as quarter,
        checked.department_id,
        checked.job_id
    from checked
    where
        checked.reasons = '[]'
        and {{ has_changed('checked', 'checked_hired_employees') }}

),

counted as (

    select
        named.*,
        hires.*
    from named
    cross join lateral (
        select
            {% for name, condition in counts.items() %}
            count(*) filter (where {{ condition }})
                as {{ name }}{{ ',' if not loop.last }}
            {% endfor %}
        from hires
        where
            hires.department_id = named.department_id
            and hires.job_id = named.job_id
            and hires.hired_year = named.year
            and hires.hired_quarter = named.quarter
    ) as hires

),

{% else %}
counted as (

    select
        hires.hired_year as year,
        hires.hired_quarter as quarter,
        hires.department_id,
        hires.job_id,
        {% for name, condition in counts.items() %}
        count(*) filter (where hires.disposition = 'accepted' and {{ condition }})
            as {{ name }}{{ ',' if not loop.last }}
        {% endfor %}
    from checked as hires
    where hires.reasons = '[]'
    group by
        hires.hired_year, hires.hired_quarter, hires.department_id, hires.job_id

),

{% endif %}

final as (

    select
        year,
        quarter,
        department_id,
        job_id,
        {% for name in counts %}
        {{ name }}::integer as {{ name }}{{ ',' if not loop.last }}
        {% endfor %}
    from counted

)

select * from final
