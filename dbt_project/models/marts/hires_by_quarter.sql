-- In version 1.0.0 it had an index of whole names, which fails on long ones.
{{ config(
    pre_hook='drop index if exists '
    ~ 'marts.hires_by_quarter_year_department_job_department_id_job_id_idx',
) }}

with

quarters as (

    select * from {{ ref('quarterly_hires') }}

),

departments as (

    select * from {{ ref('departments') }}

),

jobs as (

    select * from {{ ref('jobs') }}

),

pivoted as (

    select
        year,
        department_id,
        job_id,
        coalesce(sum(hired) filter (where quarter = 1), 0)::integer as q1,
        coalesce(sum(hired) filter (where quarter = 2), 0)::integer as q2,
        coalesce(sum(hired) filter (where quarter = 3), 0)::integer as q3,
        coalesce(sum(hired) filter (where quarter = 4), 0)::integer as q4
    from quarters
    group by year, department_id, job_id
    having sum(hired) > 0

),

final as (

    select
        pivoted.year,
        departments.id as department_id,
        departments.department,
        jobs.id as job_id,
        jobs.job,
        pivoted.q1,
        pivoted.q2,
        pivoted.q3,
        pivoted.q4
    from pivoted
    inner join departments on pivoted.department_id = departments.id
    inner join jobs on pivoted.job_id = jobs.id

)

select * from final
