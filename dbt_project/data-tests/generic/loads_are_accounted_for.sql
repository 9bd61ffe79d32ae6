-- A load of which fewer or more records are judged than the ledger says were loaded
-- would make every metric a little wrong, for good.
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

-- Materialized: counted for all loads at once, and not once for each of them, which is
-- what the planner does where it expects few.
judged as materialized (

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
    judged.accepted,
    judged.superseded,
    judged.waiting,
    judged.withdrawn,
    judged.rejected
from in_scope
left join judged on in_scope.load_id = judged.load_id
where
    in_scope.loaded
    <> coalesce(
        judged.accepted + judged.superseded + judged.waiting + judged.withdrawn
        + judged.rejected,
        0
    )

{% endtest %}
