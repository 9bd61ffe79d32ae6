with

checked as (

    select * from {{ ref('checked_departments') }}

),

final as (

    select
        id,
        department,
        _load_id,
        _build
    from checked
    where disposition = 'accepted'

)

select * from final
