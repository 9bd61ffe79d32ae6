-- An id that counts twice would be two people; one of which no record counts would
-- be nobody, though somebody was delivered and not withdrawn. One of which an earlier
-- record counts would stay what it once was.
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

    select
        {{ id }},
        _load_id,
        disposition,
        -- One number, in the order in which records replace each other.
        (_load_id << 32) + _record as place
    from {{ model }}
    where reasons = '[]'

)

select
    {{ id }},
    count(*) filter (where disposition <> 'superseded') as counting,
    max(place) as latest,
    max(place) filter (where disposition <> 'superseded') as latest_counting
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
having
    count(*) filter (where disposition <> 'superseded') <> 1
    or max(place) <> max(place) filter (where disposition <> 'superseded')

{% endtest %}
