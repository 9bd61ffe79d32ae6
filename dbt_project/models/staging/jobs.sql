with

checked as (

    select * from {{ ref('checked_jobs') }}

),

final as (

    select
        id,
        job,
        _load_id,
        _build
    from checked
    where disposition = 'accepted'

)

select * from final
