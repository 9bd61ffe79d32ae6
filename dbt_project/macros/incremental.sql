-- How a model of this project becomes a table, in place of dbt's own way: a build
-- writes the rows that differ and no others, into the table that is there, in one
-- transaction. Readers neither wait for it nor see half of it, a build that changes
-- nothing writes nothing, and what depends on the table stays. With --full-refresh
-- the model is computed from everything and compared with all of the table.
--
-- A model yields, when is_incremental(), the rows of all keys that what is new may
-- have changed, with a column _gone where some of these rows are to go. Its config:
--   unique_key      the columns of its primary key
--   meta.feeds      models whose changes it follows; each marks what it has taken
--   meta.indexes    further indexes, as SQL behind the table's name
--   meta.announced  whether readers are told of a change (marts)
-- A column _build is the number of the model's build that last changed the row.
{% materialization incremental, adapter='postgres' %}
    {% set existing = load_cached_relation(this) %}
    {% set target = this.incorporate(type='table') %}
    {% set temporary = make_temp_relation(target) %}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% do take_turns() %}
    {% set marks = marks_of_inputs() %}

    {% set is_new = existing is none or not existing.is_table %}
    {% if is_new %}
        {% do drop_relation_if_exists(existing) %}
        {% set changed = create_table(target, sql) %}
    {% else %}
        {% do run_query(
            'create temporary table ' ~ temporary ~ ' on commit drop as (' ~ sql ~ ')'
        ) %}
        {% set is_foreign = was_never_built(marks) or columns_differ(existing, temporary) %}
        {% if should_full_refresh() and is_foreign %}
            {% do drop_relation_if_exists(existing) %}
            {% set changed = create_table(target, 'select * from ' ~ temporary) %}
        {% else %}
            {% do run_query('analyze ' ~ temporary) %}
            {% set changed = write_differences(target, temporary) %}
        {% endif %}
    {% endif %}
    {% if is_new or should_full_refresh() %}
        {% do apply_grants(target, config.get('grants'), should_revoke=False) %}
        {% do persist_docs(target, model) %}
    {% endif %}
    {% do remember(marks, changed or is_new) %}
    {% if changed and config.meta_get('announced') %}
        {% do announce(target) %}
    {% endif %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {% do store_raw_result(
        'main', message=changed ~ ' rows', code='CHANGED', rows_affected=changed
    ) %}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}


-- Two builds of one model follow each other: the second begins with what the first
-- has left. Ends with the transaction.
{% macro take_turns() %}
    {% do run_query(
        "select pg_advisory_xact_lock(hashtextextended('"
        ~ this.schema ~ '.' ~ this.name ~ "', 0))"
    ) %}
{% endmacro %}


-- Creates and fills a table with its key and indexes; returns the number of its rows.
{% macro create_table(target, sql) %}
    {% call statement('create') %}
        {{ get_create_table_as_sql(False, target, sql) }}
    {% endcall %}
    {% call statement('arrange') %}
        {% if not config.get('contract').enforced %}
        alter table {{ target }}
            add primary key ({{ config.require('unique_key') | join(', ') }});
        {% endif %}
        {% for index in config.meta_get('indexes', []) %}
        create index on {{ target }} {{ index }};
        {% endfor %}
        analyze {{ target }};
    {% endcall %}
    {{ return(load_result('create')['response'].rows_affected) }}
{% endmacro %}


-- Whether a table that is there was made some other way: without the key and indexes.
{% macro was_never_built(marks) %}
    {% for input, mark in marks if input == 'builds' and mark == 1 %}
        {{ return(true) }}
    {% endfor %}
    {{ return(false) }}
{% endmacro %}


{% macro columns_differ(one, other) %}
    {% set shapes = [] %}
    {% for relation in (one, other) %}
        {% set shape = [] %}
        {% for column in adapter.get_columns_in_relation(relation) %}
            {% do shape.append((column.name, column.dtype)) %}
        {% endfor %}
        {% do shapes.append(shape | sort) %}
    {% endfor %}
    {{ return(shapes[0] != shapes[1]) }}
{% endmacro %}


-- Makes the table equal to the temporary one, where that has anything to say;
-- returns how many rows that took.
{% macro write_differences(target, temporary) %}
    {% set keys = config.require('unique_key') %}
    {% set columns = adapter.get_columns_in_relation(temporary)
        | map(attribute='name') | list %}
    {% set has_gone = '_gone' in columns %}
    {% set written = columns | reject('equalto', '_gone') | list %}
    {% set values = written | reject('in', keys) | list %}
    {% set compared = values | reject('equalto', '_build') | list %}
    {% set same_key %}
        {% for key in keys %}
        old.{{ key }} = new.{{ key }} {% if not loop.last %}and{% endif %}
        {% endfor %}
    {% endset %}

    {% call statement('delete') %}
        {% if should_full_refresh() %}
        delete from {{ target }} as old
        where not exists (select from {{ temporary }} as new where {{ same_key }})
        {% elif has_gone %}
        delete from {{ target }} as old
        using {{ temporary }} as new
        where {{ same_key }} and new._gone
        {% else %}
        select where false
        {% endif %}
    {% endcall %}
    {% call statement('update') %}
        update {{ target }} as old
        set ({{ values | join(', ') }}) = row(new.{{ values | join(', new.') }})
        from {{ temporary }} as new
        where
            {{ same_key }}
            and (old.{{ compared | join(', old.') }})
            is distinct from (new.{{ compared | join(', new.') }})
            {% if has_gone %}and not new._gone{% endif %}
    {% endcall %}
    {% call statement('insert') %}
        insert into {{ target }} ({{ written | join(', ') }})
        select new.{{ written | join(', new.') }}
        from {{ temporary }} as new
        where
            not exists (select from {{ target }} as old where {{ same_key }})
            {% if has_gone %}and not new._gone{% endif %}
    {% endcall %}
    {% set changed = namespace(rows=0) %}
    {% for name in ('delete', 'update', 'insert') %}
        {% set changed.rows = changed.rows
            + load_result(name)['response'].rows_affected %}
    {% endfor %}
    {{ return(changed.rows) }}
{% endmacro %}
