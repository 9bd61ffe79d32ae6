-- A load of which fewer or more records are judged than the ledger says were loaded
-- would make every metric a little wrong, for good.
{% test loads_are_accounted_for(model, table) %}

with

loads as (

    select * from {{ ref('loads') }}

),

in_question as (

    select *
    from loads
    where table_name = '{{ table }}' and {{ is_in_question() }}

),

-- Materialized: counted for all loads at once, and not once for each of them, which is
-- what the planner does where it expects few.
judged as materialized (

    select
        _load_id as load_id,
        count(*) filter (where disposition = 'accepted') as accepted,
        count(*) filter (where disposition = 'superseded') as superseded,
        count(*) filter (where disposition = 'waiting') as waiting,
        count(*) filter (where disposition = 'rejected') as rejected
    from {{ model }}
    where {{ is_of_load_in('in_question', asks_of_new_loads()) }}
    group by _load_id

)

select
    in_question.load_id,
    in_question.loaded,
    judged.accepted,
    judged.superseded,
    judged.waiting,
    judged.rejected
from in_question
left join judged on in_question.load_id = judged.load_id
where
    in_question.loaded
    <> coalesce(
        judged.accepted + judged.superseded + judged.waiting + judged.rejected, 0
    )

{% endtest %}
