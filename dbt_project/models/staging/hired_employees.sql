with

checked as (

    select * from {{ ref('checked_hired_employees') }}

),

final as (

    select
        id,
        name,
        hired_at,
        department_id,
        job_id,
        hired_year,
        hired_quarter,
        _load_id
    from checked
    where disposition = 'accepted'

)

select * from final
