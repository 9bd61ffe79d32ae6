{{ config(
    unique_key=['year', 'department_id', 'job_id'],
    meta={
        'feeds': ['quarterly_hires', 'checked_departments', 'checked_jobs'],
        'indexes': [
            '(year, department collate "C", job collate "C", department_id, job_id)'
        ],
        'announced': true,
    },
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

{% if is_incremental() %}
-- By what was counted anew, and by departments and jobs that have another name.
{% set conditions = [
    has_changed('quarters', 'quarterly_hires'),
    'quarters.department_id in (select id from departments where '
    ~ has_changed('departments', 'checked_departments') ~ ')',
    'quarters.job_id in (select id from jobs where '
    ~ has_changed('jobs', 'checked_jobs') ~ ')',
] %}
touched as (

    {% for condition in conditions %}
    select
        quarters.year,
        quarters.department_id,
        quarters.job_id
    from quarters
    where {{ condition }}
    {% if not loop.last %}union{% endif %}
    {% endfor %}
),

hired as (

    select quarters.*
    from touched
    cross join lateral (
        select quarters.*
        from quarters
        where
            quarters.year = touched.year
            and quarters.department_id = touched.department_id
            and quarters.job_id = touched.job_id
    ) as quarters

),

{% else %}
hired as (

    select * from quarters

),

{% endif %}
pivoted as (

    select
        year,
        department_id,
        job_id,
        coalesce(sum(hired) filter (where quarter = 1), 0)::integer as q1,
        coalesce(sum(hired) filter (where quarter = 2), 0)::integer as q2,
        coalesce(sum(hired) filter (where quarter = 3), 0)::integer as q3,
        coalesce(sum(hired) filter (where quarter = 4), 0)::integer as q4,
        sum(hired) = 0 as is_empty
    from hired
    group by year, department_id, job_id

),

final as (

    select
        pivoted.year,
        {% if is_incremental() %}
        pivoted.is_empty as _gone,
        {% endif %}
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
    {% if not is_incremental() %}
    where not pivoted.is_empty
    {% endif %}

)

select * from final
