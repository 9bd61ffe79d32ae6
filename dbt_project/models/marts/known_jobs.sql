with

jobs as (

    select * from {{ ref('jobs') }}

),

final as (

    select
        id,
        job
    from jobs

)

select * from final
