with

quarters as (

    select * from {{ ref('quarterly_hires') }}

),

departments as (

    select * from {{ ref('departments') }}

),

by_quarter as (

    select
        year,
        quarter,
        department_id,
        sum(month_1) as month_1,
        sum(month_2) as month_2,
        sum(month_3) as month_3
    from quarters
    group by year, quarter, department_id

),

by_month as (

    select
        year,
        (quarter - 1) * 3 + 1 as month,
        department_id,
        month_1 as hired
    from by_quarter
    union all
    select
        year,
        (quarter - 1) * 3 + 2 as month,
        department_id,
        month_2 as hired
    from by_quarter
    union all
    select
        year,
        (quarter - 1) * 3 + 3 as month,
        department_id,
        month_3 as hired
    from by_quarter

),

final as (

    select
        by_month.year,
        by_month.month,
        departments.id as department_id,
        departments.department,
        by_month.hired::integer as hired
    from by_month
    inner join departments on by_month.department_id = departments.id
    where by_month.hired > 0

)

select * from final
