-- The metrics before they are published, which data tests check. A quarter's months are
-- in its row: a row per month would be three times as many rows to count and to read in
-- each build.
-- A test blocks the marts only if everything that it reads is upstream of them; for
-- quarters_add_up,
-- depends_on: {{ ref('hired_employees') }}
{{ config(
    materialized='differential',
    unique_key=['year', 'quarter', 'department_id', 'job_id'],
    pre_hook=create_hire_changes(),
    post_hook='delete from ' ~ hire_changes() ~ ' where build <= '
    ~ watermark('checked_hired_employees'),
    meta={'incremental': true, 'adds_changes_of': 'checked_hired_employees'},
) }}

with

checked as (

    select * from {{ ref('checked_hired_employees') }}

),

counted as (

    select
        hired_year as year,
        hired_quarter as quarter,
        department_id,
        job_id,
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

{% if is_incremental_build() %}
logged as (

    select * from {{ hire_changes() }}
    where build > {{ watermark('checked_hired_employees') }}

),

log_state as (

    select
        count(distinct build)
        = {{ last_build('checked_hired_employees') }}
        - {{ watermark('checked_hired_employees') }} as is_complete
    from logged

),

changed as (

    select
        year,
        quarter,
        department_id,
        job_id,
        sum(month_1) as month_1,
        sum(month_2) as month_2,
        sum(month_3) as month_3
    from logged
    where year is not null
    group by year, quarter, department_id, job_id

),

added as (

    select
        year,
        quarter,
        department_id,
        job_id,
        changed.month_1 + coalesce(known.month_1, 0) as month_1,
        changed.month_2 + coalesce(known.month_2, 0) as month_2,
        changed.month_3 + coalesce(known.month_3, 0) as month_3
    from changed
    left join {{ this }} as known using (year, quarter, department_id, job_id)

),

months as (

    select * from added
    where (select log_state.is_complete from log_state)
    union all
    select * from counted
    where not (select log_state.is_complete from log_state)

),

{% else %}
months as (

    select * from counted

),

{% endif %}
quarters as (

    select
        *,
        month_1 + month_2 + month_3 as hired
    from months

),

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
    from quarters

)

select * from final
