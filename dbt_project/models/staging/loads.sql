-- Read once per build, so that all models see the same loads, even if others complete
-- meanwhile.
{{ config(
    materialized='differential',
    unique_key=['load_id'],
    meta={'incremental': true, 'indexes': ['(completion)']},
) }}

with

ledger as (

    select * from {{ source('raw', 'loads') }}

),

final as (

    select
        load_id,
        table_name,
        source,
        bucket,
        key,
        records,
        loaded,
        rejected,
        completed_at,
        completion,
        -- The columns of an export of rejected records.
        coalesce(
            left_out_columns @> array['_load_id', '_record'], false
        ) as is_correction,
        coalesce(malformed, rejected) as malformed,
        coalesce(invalid, 0) as invalid
    from ledger
    where
        status = 'complete'
        {% if is_incremental_build() %}
        and completion > (
            select coalesce(max(taken.completion), 0) from {{ this }} as taken
        )
        {% endif %}

)

select * from final
