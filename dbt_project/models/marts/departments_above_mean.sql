with

quarters as (

    select * from {{ ref('quarterly_hires') }}

),

departments as (

    select * from {{ ref('departments') }}

),

hired_by_department as (

    select
        year,
        department_id,
        sum(hired)::integer as hired
    from quarters
    group by year, department_id

),

hired_by_year as (

    select
        year,
        sum(hired) as hired
    from hired_by_department
    group by year

),

-- All departments: one that hired nobody in a year lowers the mean.
all_departments as (

    select count(*) as departments from departments

),

final as (

    select
        hired_by_department.year,
        departments.id,
        departments.department,
        hired_by_department.hired,
        hired_by_year.hired::double precision / all_departments.departments as mean
    from hired_by_department
    inner join departments on hired_by_department.department_id = departments.id
    inner join hired_by_year on hired_by_department.year = hired_by_year.year
    cross join all_departments
    where
        -- In integers: the rounding of a mean must not turn a tie into a win.
        hired_by_department.hired * all_departments.departments
        > hired_by_year.hired

)

select * from final
