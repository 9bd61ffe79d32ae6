-- A load with fewer or more checked records than loaded ones in the ledger would make
-- every metric slightly wrong, permanently.
{% test loads_are_accounted_for(model, table) %}

with

loads as (

    select * from {{ ref('loads') }}

),

in_scope as (

    select *
    from loads
    where table_name = '{{ table }}' and {{ in_test_scope() }}

),

-- Materialized, so that all loads are counted together, and not one by one, as the
-- planner does if it expects few.
counted as materialized (

    select
        _load_id as load_id,
        count(*) filter (where disposition = 'accepted') as accepted,
        count(*) filter (where disposition = 'superseded') as superseded,
        count(*) filter (where disposition = 'waiting') as waiting,
        count(*) filter (where disposition = 'withdrawn') as withdrawn,
        count(*) filter (where disposition = 'rejected') as rejected
    from {{ model }}
    where {{ is_of_load_in('in_scope', tests_only_new_loads()) }}
    group by _load_id

)

select
    in_scope.load_id,
    in_scope.loaded,
    counted.accepted,
    counted.superseded,
    counted.waiting,
    counted.withdrawn,
    counted.rejected
from in_scope
left join counted on in_scope.load_id = counted.load_id
where
    in_scope.loaded
    <> coalesce(
        counted.accepted + counted.superseded + counted.waiting + counted.withdrawn
        + counted.rejected,
        0
    )

{% endtest %}
