-- The metrics before they are published: what the gates look at.
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

{% else %}
counted as (

    select
        hired_year as year,
        hired_quarter as quarter,
        department_id,
        job_id,
        count(*) filter (where disposition = 'accepted') as hired
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
        hired::integer as hired
    from counted

)

select * from final
