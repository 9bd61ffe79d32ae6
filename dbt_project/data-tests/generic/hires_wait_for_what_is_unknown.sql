-- A hire that goes on waiting for a department or a job that is there would never
-- be counted, and nobody would look for it among those that rightly wait. One that is
-- accepted without them would be lost where their names are joined.
{% test hires_wait_for_what_is_unknown(model) %}

with

loads as (

    select * from {{ ref('loads') }}

),

in_question as (

    select load_id
    from loads
    where {{ is_in_question() }}

),

departments as (

    select * from {{ ref('departments') }}

),

jobs as (

    select * from {{ ref('jobs') }}

),

-- Not materialized: neither of the two questions is about all of them.
hires as not materialized (

    select * from {{ model }}

)

select
    _load_id,
    _record,
    department_id,
    job_id
from hires
where
    disposition = 'waiting'
    and department_id in (select id from departments)
    and job_id in (select id from jobs)

union all

select
    _load_id,
    _record,
    department_id,
    job_id
from hires
where
    disposition = 'accepted'
    and {{ is_of_load_in('in_question', asks_of_new_loads()) }}
    and not (
        department_id in (select id from departments)
        and job_id in (select id from jobs)
    )

{% endtest %}
