-- A malformed record that is stored nowhere could not be distinguished from one that
-- was never delivered, and nobody would correct it.
{{ config(meta={'dagster': {'ref': {'name': 'rejected_records'}}}) }}

with

loads as (

    select * from {{ ref('loads') }}

),

in_scope as (

    select *
    from loads
    where {{ in_test_scope() }}

),

kept as (

    select
        load_id,
        count(*) as records
    from {{ source('raw', 'rejected_records') }}
    group by load_id

),

listed as (

    select
        load_id,
        count(*) as records
    from {{ ref('rejected_records') }}
    where message is not null
    group by load_id

)

select
    in_scope.load_id,
    in_scope.malformed,
    kept.records as kept,
    listed.records as listed
from in_scope
left join kept on in_scope.load_id = kept.load_id
left join listed on in_scope.load_id = listed.load_id
where
    in_scope.malformed <> coalesce(kept.records, 0)
    or in_scope.malformed <> coalesce(listed.records, 0)
