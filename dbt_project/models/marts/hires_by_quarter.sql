with

hires as (

    select * from {{ ref('hired_employees') }}

),

departments as (

    select * from {{ ref('departments') }}

),

jobs as (

    select * from {{ ref('jobs') }}

),

final as (

    select
        hires.hired_year as year,
        departments.id as department_id,
        departments.department,
        jobs.id as job_id,
        jobs.job,
        count(*) filter (where hires.hired_quarter = 1)::integer as q1,
        count(*) filter (where hires.hired_quarter = 2)::integer as q2,
        count(*) filter (where hires.hired_quarter = 3)::integer as q3,
        count(*) filter (where hires.hired_quarter = 4)::integer as q4
    from hires
    inner join departments on hires.department_id = departments.id
    inner join jobs on hires.job_id = jobs.id
    group by
        hires.hired_year,
        departments.id,
        departments.department,
        jobs.id,
        jobs.job

)

select * from final
