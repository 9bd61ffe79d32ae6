-- An id that counts twice would be two people; one of which no record counts would
-- be nobody, though somebody was delivered and not withdrawn.
{% test one_record_counts_an_id(model, id) %}

with

loads as (

    select * from {{ ref('loads') }}

),

in_scope as (

    select load_id
    from loads
    where {{ in_test_scope() }}

),

-- Not materialized: of most ids nothing is asked.
valid as not materialized (

    select *
    from {{ model }}
    where reasons = '[]'

)

select
    {{ id }},
    count(*) filter (where disposition <> 'superseded') as counting
from valid
{% if tests_only_new_loads() %}
where
    {{ id }} in (
        select {{ id }}
        from valid
        where {{ is_of_load_in('in_scope', tests_only_new_loads()) }}
    )
{% endif %}
group by {{ id }}
having count(*) filter (where disposition <> 'superseded') <> 1

{% endtest %}
