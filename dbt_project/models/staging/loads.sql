-- Taken once a build: all models of it see the same loads, whatever completes
-- while it runs.
with

ledger as (

    select * from {{ source('raw', 'loads') }}

),

final as (

    select
        load_id,
        table_name,
        source,
        key,
        records,
        rejected,
        completed_at
    from ledger
    where status = 'complete'

)

select * from final
