{{ config(
    unique_key=['year', 'id'],
    meta={
        'feeds': ['quarterly_hires', 'checked_departments'],
        'indexes': ['(year, hired desc, id)'],
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

{% if is_incremental() %}
-- A hire changes the mean of its year, a new department that of every year.
touched as (

    select quarters.year
    from quarters
    where {{ has_changed('quarters', 'quarterly_hires') }}
    union
    select year
    from quarters
    where
        exists (
            select from departments
            where {{ has_changed('departments', 'checked_departments') }}
        )

),

{% endif %}
hired_by_department as (

    select
        year,
        department_id,
        sum(hired)::integer as hired
    from quarters
    {% if is_incremental() %}
    where year in (select touched.year from touched)
    {% endif %}
    group by year, department_id

),

hired_by_year as (

    select
        year,
        sum(hired) as hired
    from hired_by_department
    group by year

),

-- All of them: a department that hired nobody in a year pulls the mean down.
all_departments as (

    select count(*) as departments from departments

),

compared as (

    select
        hired_by_department.year,
        departments.id,
        departments.department,
        hired_by_department.hired,
        hired_by_year.hired::double precision / all_departments.departments as mean,
        -- In whole numbers: a mean that a float cannot hold must not make a tie a win.
        hired_by_department.hired * all_departments.departments
        > hired_by_year.hired as is_above
    from hired_by_department
    inner join departments on hired_by_department.department_id = departments.id
    inner join hired_by_year on hired_by_department.year = hired_by_year.year
    cross join all_departments

),

final as (

    select
        year,
        {% if is_incremental() %}
        not is_above as _gone,
        {% endif %}
        id,
        department,
        hired,
        mean
    from compared
    {% if not is_incremental() %}
    where is_above
    {% endif %}

)

select * from final
