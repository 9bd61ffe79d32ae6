-- The metrics before they are published: what the gates look at. Quarters have their
-- months in the same row: a row per month would be three times as many to count and
-- to read in each build.
{% set counts = {
    'hired': 'true',
    'month_1': 'hired_month % 3 = 1',
    'month_2': 'hired_month % 3 = 2',
    'month_3': 'hired_month % 3 = 0',
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

hires as (

    select * from {{ ref('hired_employees') }}

),

{% if is_incremental_build() %}
named as (

    select distinct
        hired_year as year,
        hired_quarter as quarter,
        department_id,
        job_id
    from checked
    where
        reasons = '[]'
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
            count(*) filter (where {{ condition }}) as {{ name }}
            {% if not loop.last %},{% endif %}
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
        hired_year as year,
        hired_quarter as quarter,
        department_id,
        job_id,
        {% for name, condition in counts.items() %}
        count(*) filter (where disposition = 'accepted' and {{ condition }})
            as {{ name }}
        {% if not loop.last %},{% endif %}
        {% endfor %}
    from checked
    where reasons = '[]'
    group by hired_year, hired_quarter, department_id, job_id

),

{% endif %}

final as (

    select
        year,
        quarter,
        department_id,
        job_id,
        {% for name in counts %}
        {{ name }}::integer as {{ name }}{% if not loop.last %},{% endif %}
        {% endfor %}
    from counted

)

select * from final
