-- Rows that the ledger does not know of, or that it promises and raw does not
-- have, would mean that a load was not exactly once.
{{ config(meta={'dagster': {'ref': {'name': 'loads'}}}) }}

with

loaded as (

    {% for table in ['departments', 'jobs', 'hired_employees'] %}
    select
        _load_id,
        count(*) as records
    from {{ source('raw', table) }}
    group by _load_id
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
),

refused as (

    select
        load_id,
        count(*) as records
    from {{ source('raw', 'rejected_records') }}
    group by load_id

)

select
    loads.load_id,
    loads.records,
    loads.rejected
from {{ ref('loads') }} as loads
left join loaded on loads.load_id = loaded._load_id
left join refused on loads.load_id = refused.load_id
where
    loads.records
    <> coalesce(loaded.records, 0) + coalesce(refused.records, 0)
    or loads.rejected <> coalesce(refused.records, 0)
