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
        _load_id,
        -- Of the UTC calendar, not of the time zone that a session happens to have.
        extract(year from hired_at at time zone 'UTC')::integer as hired_year,
        extract(quarter from hired_at at time zone 'UTC')::integer as hired_quarter
    from checked
    where disposition = 'accepted'

)

select * from final
