with

departments as (

    select * from {{ ref('departments') }}

),

final as (

    select
        id,
        department
    from departments

)

select * from final
