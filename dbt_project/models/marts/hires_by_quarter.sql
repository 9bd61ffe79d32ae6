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
        {% for quarter in range(1, 5) %}
        count(*) filter (
            where hires.hired_quarter = {{ quarter }}
        )::integer as q{{ quarter }}{{ ',' if not loop.last }}
        {% endfor %}
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
