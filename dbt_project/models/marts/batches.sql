-- A view: later records change what becomes of a batch, and few batches are ever
-- requested. Postgres counts only the records of the requested load.
{{ config(materialized='view') }}

with

loads as (

    select * from {{ ref('loads') }}

),

checked as (

    select * from {{ ref('checked_hired_employees') }}

),

counted as (

    select
        _load_id as load_id,
        count(*) filter (where disposition = 'accepted') as accepted,
        count(*) filter (where disposition = 'superseded') as superseded,
        count(*) filter (where disposition = 'withdrawn') as withdrawn,
        count(*) filter (where disposition = 'waiting') as waiting,
        count(*) filter (where disposition = 'rejected') as rejected
    from checked
    group by _load_id

),

final as (

    select
        loads.load_id,
        loads.completion <= {{ published() }} as is_published,
        coalesce(counted.accepted, 0)::integer as accepted,
        coalesce(counted.superseded, 0)::integer as superseded,
        coalesce(counted.withdrawn, 0)::integer as withdrawn,
        coalesce(counted.waiting, 0)::integer as waiting,
        (loads.malformed + coalesce(counted.rejected, 0))::integer as rejected
    from loads
    left join counted on loads.load_id = counted.load_id
    where loads.source = 'api'

)

select * from final
