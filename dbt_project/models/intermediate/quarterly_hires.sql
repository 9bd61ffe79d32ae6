-- The metrics before they are published: what the gates look at. Quarters have their
-- months in the same row: a row per month would be three times as many to count and
-- to read in each build.
-- depends_on: {{ ref('hired_employees') }}
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
            count(*) as hired,
            count(*) filter (where hires.hired_month % 3 = 1) as month_1,
            count(*) filter (where hires.hired_month % 3 = 2) as month_2,
            count(*) filter (where hires.hired_month % 3 = 0) as month_3
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
        count(*) filter (where disposition = 'accepted') as hired,
        count(*) filter (
            where disposition = 'accepted' and hired_month % 3 = 1
        ) as month_1,
        count(*) filter (
            where disposition = 'accepted' and hired_month % 3 = 2
        ) as month_2,
        count(*) filter (
            where disposition = 'accepted' and hired_month % 3 = 0
        ) as month_3
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
        hired::integer as hired,
        month_1::integer as month_1,
        month_2::integer as month_2,
        month_3::integer as month_3
    from counted

)

select * from final
