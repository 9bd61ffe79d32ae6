-- The columns of a table of the contract. Each has its delivered name (`name`) and its
-- name in the models (`value`).
{% macro columns_of(table) %}
    {{ return(contract()[table]) }}
{% endmacro %}


-- The name of a table's key column.
{% macro key_of(table) %}
    {{ return((columns_of(table) | selectattr('primary_key') | first).value) }}
{% endmacro %}


-- The tables that a table refers to.
{% macro tables_referred_to_by(table) %}
    {{ return(
        columns_of(table) | selectattr('table') | map(attribute='table') | unique | list
    ) }}
{% endmacro %}


-- The columns with year, quarter and month in UTC of each timestamp, which metrics are
-- grouped by.
{% macro calendar_of(table) %}
    {% set columns = [] %}
    {% for column in columns_of(table) if column.type == 'timestamp' %}
        {% for part in ('year', 'quarter', 'month') %}
            {% do columns.append({
                'name': column.value.removesuffix('_at') ~ '_' ~ part,
                'part': part,
                'value': in_range(column, column.value),
            }) %}
        {% endfor %}
    {% endfor %}
    {{ return(columns) }}
{% endmacro %}


-- The columns of a table's models with delivered values, and those derived from them.
{% macro values_of(table) %}
    {{ return(
        columns_of(table) | map(attribute='value') | list
        + calendar_of(table) | map(attribute='name') | list
    ) }}
{% endmacro %}


-- Prevents Postgres from merging a subquery with the query that uses it: an expression
-- that is used twice would be computed twice, and whole records would be sorted. A
-- materialized CTE would be written to disk and read by one process. Quoted, because
-- Postgres treats a bare 0, which it casts to bigint, as an unknown offset and does not
-- parallelize the query.
{% macro optimization_fence() %}
    offset '0'
{% endmacro %}


-- Whether all references of a record are known, that is, ids of accepted records. With
-- exists, which the planner hashes for many records and looks up for a few.
{% macro references_are_known(table, records) %}
    {% set conditions = [] %}
    {% for column in columns_of(table) if column.table %}
        {% set known %}
            exists (
                select 1 from {{ column.table }}
                where
                    {{ column.table }}.{{ column.key }} = {{ records }}.{{ column.value }}
                    and {{ column.table }}.disposition = 'accepted'
            )
        {% endset %}
        {% do conditions.append(
            known if column.required
            else '(' ~ records ~ '.' ~ column.value ~ ' is null or ' ~ known ~ ')'
        ) %}
    {% endfor %}
    {{ return(conditions | join(' and ')) }}
{% endmacro %}


-- The records of earlier builds that an incremental build has to check again: those
-- with the same ids as new records, those that refer to a record that has become known,
-- and, for snapshots, all that count when there is a new object. Records that refer to
-- a record that has started to wait or was withdrawn are also checked again.
{% macro records_to_reconsider(table) %}
    {% set key = key_of(table) %}
    {% set conditions = [
        key ~ " in (select " ~ key ~ " from evaluated where reasons = '[]')"
        ~ " and reasons = '[]'",
    ] %}
    {% for column in columns_of(table) if column.table %}
        {% set transitions = [('accepted', 'waiting')] %}
        {% if tables_referred_to_by(column.table) %}
            {% do transitions.append(('waiting', 'accepted')) %}
        {% endif %}
        {% if column.table in snapshot_tables() %}
            {% do transitions.append(('withdrawn', 'accepted')) %}
        {% endif %}
        {% for theirs, ours in transitions %}
            {% do conditions.append(
                column.value ~ ' in (select ' ~ column.key ~ ' from ' ~ column.table
                ~ ' where ' ~ has_changed(column.table, 'checked_' ~ column.table)
                ~ " and disposition = '" ~ theirs ~ "')"
                ~ " and disposition = '" ~ ours ~ "'"
            ) %}
        {% endfor %}
    {% endfor %}
    {% if table in snapshot_tables() %}
        {% do conditions.append(
            "reasons = '[]' and disposition <> 'superseded'"
            ~ ' and (select load_id from snapshot) in (select load_id from to_check)'
        ) %}
    {% endif %}
    {{ return(conditions) }}
{% endmacro %}


-- The delivered values of some columns as a JSON object.
{% macro json_of(columns) %}
    jsonb_build_object(
        {% for column in columns %}
        '{{ column.name }}', delivered_{{ column.name }}
        {% if not loop.last %},{% endif %}
        {% endfor %}
    )
{% endmacro %}


-- The checked model of a table of the contract: each delivered record with its values,
-- its errors and its disposition.
{% macro checked(table, log_changes=false) %}
{% set columns = columns_of(table) %}
{% set parents = tables_referred_to_by(table) %}
{% set values = values_of(table) %}
{% set key = key_of(table) %}
{% set valid = [] %}
{% set reasons = [] %}
{% set of_references = [] %}
{% for column in columns %}
    {% set field = 'delivered_' ~ column.name %}
    {% do valid.append(is_valid(column, field, column.value)) %}
    {% do reasons.append(reason(column, field, column.value)) %}
    {% if column.table %}
        {% do of_references.append(
            '(' ~ column.value ~ ") where disposition = 'waiting'"
        ) %}
        {% if
            tables_referred_to_by(column.table) or column.table in snapshot_tables()
        %}
            {% do of_references.append(
                '(' ~ column.value ~ ") where disposition = 'accepted'"
            ) %}
        {% endif %}
    {% endif %}
{% endfor %}
{% set is_valid_record = valid | join(' and ') %}
{% set is_snapshot = table in snapshot_tables() %}
{{ config(
    materialized='differential',
    unique_key=['_load_id', '_record'],
    pre_hook=["select raw.summarize_new_records('" ~ table ~ "')"]
    + ([create_hire_changes()] if log_changes else []),
    meta={
        'incremental': true,
        'log_changes': log_changes,
        'indexes': ['(' ~ key ~ ')'] + of_references + [
            "(_load_id) where disposition = 'rejected'",
            "(_load_id) where disposition in ('waiting', 'withdrawn')",
            '(_build) where _build > 1',
        ],
    },
) }}

with

loads as (

    select * from {{ ref('loads') }}

),

{% for parent in parents %}
{{ parent }} as not materialized (

    select * from {{ ref('checked_' ~ parent) }}

),

{% endfor %}
to_check as (

    {{ loads_to_check(table) }}

),

{% if is_snapshot %}
-- The newest object has all records of the table, unless it corrects some of another.
snapshot as (

    select max(load_id) as load_id
    from loads
    where
        table_name = '{{ table }}' and source = 'object' and is_correction is not true

),

{% endif %}
delivered as (

    select *
    from {{ source('raw', table) }}
    where {{ is_of_load_in('to_check', is_incremental_build()) }}

),

typed as (

    select
        {% for column in columns %}
        {{ typed(column, column.name) }} as {{ column.value }},
        {{ column.name }} as delivered_{{ column.name }},
        {% endfor %}
        _load_id,
        _record
    from delivered
    {{ optimization_fence() }}

),

evaluated as (

    select
        _load_id,
        _record,
        {% for column in columns %}
        {{ in_range(column, column.value) }} as {{ column.value }},
        {% endfor %}
        {% for column in calendar_of(table) %}
        date_part('{{ column.part }}', {{ column.value }} at time zone 'UTC')::integer
        as {{ column.name }},
        {% endfor %}
        -- As JSON, because rows of a unit test cannot contain arrays.
        case
            when {{ is_valid_record }} then '[]'::jsonb
            else to_jsonb(
                array_remove(array[{{ reasons | join(', ') }}]::text[], null)
            )
        end as reasons,
        case
            when {{ is_valid_record }} then null
            else
                {{ json_of(columns | selectattr('required')) }}
                || jsonb_strip_nulls({{ json_of(columns | rejectattr('required')) }})
        end as delivered
    from typed
    {{ optimization_fence() }}

),

{% if is_snapshot %}
-- An id counts as delivered even if its record is rejected.
in_snapshot as (

    select {{ key }}
    from evaluated
    where _load_id = (select snapshot.load_id from snapshot)
    union all
    {{ malformed_keys(table) }}
    {% if is_incremental_build() %}
    union all
    select {{ key }}
    from {{ this }}
    where _load_id = (select snapshot.load_id from snapshot)
    {% endif %}

),

{% endif %}
{% if is_incremental_build() %}
-- With union, because several conditions may find the same record.
reconsidered as (

    {% for condition in records_to_reconsider(table) %}
    select
        _load_id,
        _record,
        {{ values | join(', ') }},
        reasons,
        delivered
    from {{ this }}
    where
        {{ condition }}
        and _load_id not in (select to_check.load_id from to_check)
    {% if not loop.last %}union{% endif %}
    {% endfor %}
),

{% endif %}
candidates as (

    select * from evaluated
    {% if is_incremental_build() %}
    union all
    select * from reconsidered
    {% endif %}
),

final as (

    select
        _load_id,
        _record,
        {{ values | join(', ') }},
        reasons,
        case
            when reasons <> '[]' then 'rejected'
            -- The latest valid record of an id counts.
            when
                row_number() over (
                    partition by {{ key }}, reasons = '[]'
                    order by _load_id desc, _record desc
                ) > 1
                then 'superseded'
            {% if is_snapshot %}
            when
                _load_id < (select snapshot.load_id from snapshot)
                and not exists (
                    select 1 from in_snapshot
                    where in_snapshot.{{ key }} = candidates.{{ key }}
                )
                then 'withdrawn'
            {% endif %}
            {% if parents %}
            when not ({{ references_are_known(table, 'candidates') }}) then 'waiting'
            {% endif %}
            else 'accepted'
        end as disposition,
        delivered,
        {{ build_number() }} as _build
    from candidates

)

select * from final
{% endmacro %}


-- The readable keys of the malformed records of a snapshot.
{% macro malformed_keys(table) %}
    {% set column = columns_of(table) | selectattr('primary_key') | first %}
    select {{ typed(column, "(delivered ->> '" ~ column.name ~ "')") }}
    from {{ source('raw', 'rejected_records') }}
    where load_id = (select snapshot.load_id from snapshot)
{% endmacro %}


-- The accepted rows of a table of the contract.
{% macro accepted(table) %}
with

checked as (

    select * from {{ ref('checked_' ~ table) }}

),

final as (

    select
        {{ values_of(table) | join(', ') }},
        _load_id
    from checked
    where disposition = 'accepted'

)

select * from final
{% endmacro %}
