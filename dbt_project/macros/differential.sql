-- The materialization of tables: a build writes only rows that differ, into the
-- existing table, in one transaction. Readers neither wait for it nor see half of it, a
-- build without changes writes nothing, and dependent objects are kept. A model's key
-- is its config unique_key or the primary key of its contract. Its meta:
--   incremental  whether a build selects only rows of keys that new records may have
--                changed; other models are computed completely in each build, and with
--                --full-refresh all models are
--   indexes      further indexes, as SQL that follows the table's name
--   published    whether the model is a mart whose readers are notified of changes
--   log_changes  whether incremental builds log their changes (hire_changes.sql)
--   adds_changes_of  the model whose log this one sums up; it is locked meanwhile
-- A column _build is the number of the model's build that last changed the row.
--
-- dbt's own `incremental` deletes and inserts rows that are the same. dbt's
-- is_incremental() applies only to that one; this one has is_incremental_build().
{% materialization differential, adapter='postgres' %}
    {% set existing = load_cached_relation(this) %}
    {% set target = this.incorporate(type='table') %}
    {% set temporary = make_temp_relation(target) %}
    {% set exists = existing is not none and existing.is_table %}
    {% set is_restructuring = exists and should_full_refresh() %}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% set structure = begin_restructuring(target, sql) if is_restructuring else {} %}
    {% do lock_model() %}
    {% set watermarks = new_watermarks() %}
    {% set result = namespace(rows=0, is_new=not exists) %}
    {% if config.meta_get('log_changes') and not is_incremental_build() %}
        {% do forget_hire_changes() %}
    {% endif %}

    {% if exists %}
        {% if not should_full_refresh() %}
            {# Before its SQL reads a column that the table lacks. #}
            {% do require_columns(existing, dict.fromkeys(model.columns)) %}
        {% endif %}
        {% do run_query(
            'create temporary table ' ~ temporary ~ ' on commit drop as (' ~ sql ~ ')'
        ) %}
        {% if not should_full_refresh() %}
            {% do require_columns(existing, columns_of_relation(temporary)) %}
        {% endif %}
        {% do run_query('analyze ' ~ temporary) %}
        {% if config.meta_get('log_changes') and is_incremental_build() %}
            {% do log_hire_changes(target, temporary) %}
        {% endif %}
        {% set result.rows = write_differences(target, temporary, structure.retyped) %}
        {% if is_restructuring %}
            {% set result.is_new = finish_restructuring(target, structure)
                or is_foreign_table(watermarks) %}
        {% endif %}
    {% else %}
        {% set dependents = make_way(target, kind_of(target), 'a table in its place')
            if existing else {'restore': []} %}
        {% set result.rows = create_table(target, sql) %}
        {% do restore_dependents(dependents) %}
    {% endif %}
    {% if result.is_new or should_full_refresh() %}
        {% do apply_grants(target, config.get('grants'), should_revoke=False) %}
        {% do persist_docs(target, model) %}
    {% endif %}
    {% do save_watermarks(watermarks, result.rows or result.is_new) %}
    {% if config.meta_get('published') and (result.rows or result.is_new) %}
        {% do notify_readers(target) %}
    {% endif %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {% do store_raw_result(
        'main',
        message=result.rows ~ ' rows',
        code='CHANGED',
        rows_affected=result.rows,
    ) %}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}


-- Whether the model selects only rows that may have changed since its last build.
{% macro is_incremental_build() %}
    {% if not execute or should_full_refresh() or not config.meta_get('incremental') %}
        {{ return(false) }}
    {% endif %}
    {% set existing = load_cached_relation(this) %}
    {{ return(existing is not none and existing.is_table) }}
{% endmacro %}


-- Locks the model until the end of the transaction, so that a second build of it starts
-- from the result of the first. The model whose log is added is locked, too: changes
-- logged between reading the watermark and the log would be added twice.
{% macro lock_model() %}
    {% set upstream = config.meta_get('adds_changes_of') %}
    {% for name in ([upstream] if upstream else []) + [this.name] %}
        {% do run_query(
            "select pg_advisory_xact_lock(hashtextextended('"
            ~ this.schema ~ '.' ~ name ~ "', 0))"
        ) %}
    {% endfor %}
{% endmacro %}


-- The columns of the model's key.
{% macro key_columns() %}
    {% for constraint in model.constraints if constraint.type == 'primary_key' %}
        {{ return(constraint.columns) }}
    {% endfor %}
    {{ return(config.require('unique_key')) }}
{% endmacro %}


-- Creates a table with its rows, key and indexes; returns the number of rows.
{% macro create_table(target, sql) %}
    {% call statement('create') %}
        {{ get_create_table_as_sql(False, target, sql) }}
    {% endcall %}
    {% call statement('arrange') %}
        {% if not config.get('contract').enforced %}
        alter table {{ target }} add primary key ({{ key_columns() | join(', ') }});
        {% endif %}
        {% for index in config.meta_get('indexes', []) %}
        create index on {{ target }} {{ index }};
        {% endfor %}
        analyze {{ target }};
    {% endcall %}
    {{ return(load_result('create')['response'].rows_affected) }}
{% endmacro %}


-- Whether an existing table was not created by this materialization and may lack its
-- key and indexes.
{% macro is_foreign_table(watermarks) %}
    {% for input, watermark in watermarks if input == 'builds' and watermark == 1 %}
        {{ return(true) }}
    {% endfor %}
    {{ return(false) }}
{% endmacro %}


-- The types of a relation's columns by name, in order.
{% macro columns_of_relation(relation) %}
    {% set columns = {} %}
    {% set query %}
        select
            attname::text as name,
            format_type(atttypid, atttypmod) as type
        from pg_attribute
        where
            attrelid = '{{ relation }}'::regclass
            and attnum > 0
            and not attisdropped
        order by attnum
    {% endset %}
    {% for name, type in run_query(query).rows %}
        {% do columns.update({name: type}) %}
    {% endfor %}
    {{ return(columns) }}
{% endmacro %}


-- A description of how a relation's columns differ from those of its model; '' if they
-- do not. Without a type, only names are compared. With only_lost, new columns are
-- ignored, since they break nothing.
{% macro column_differences(existing, wanted, only_lost=False) %}
    {% set stored = columns_of_relation(existing) %}
    {% set differences = [] %}
    {% for name, type in wanted.items() %}
        {% if name not in stored %}
            {% do differences.append(name ~ ' is new') if not only_lost %}
        {% elif type and type != stored[name] %}
            {% do differences.append(
                name ~ ' is ' ~ type ~ ' instead of ' ~ stored[name]
            ) %}
        {% endif %}
    {% endfor %}
    {% for name in stored if name not in wanted %}
        {% do differences.append(name ~ ' is gone') %}
    {% endfor %}
    {{ return(differences | join(', ')) }}
{% endmacro %}


-- Fails an incremental build of a table whose columns differ from its model's: only a
-- build from all records can fill them.
{% macro require_columns(existing, wanted) %}
    {% set differences = column_differences(existing, wanted) if wanted else '' %}
    {% if differences %}
        {% do exceptions.raise_compiler_error(
            this.schema ~ '.' ~ this.name ~ ' has other columns than its model ('
            ~ differences ~ '): launch the job rebuild_marts, which builds it from '
            ~ 'all records, or build with --full-refresh.'
        ) %}
    {% endif %}
{% endmacro %}


-- Writes the rows of the temporary table that differ to the table; returns how many
-- rows were written. `names` has the columns whose name differs in the table.
{% macro write_differences(target, temporary, names) %}
    {% set keys = key_columns() %}
    {% set columns = columns_of_relation(temporary) | list %}
    {% set values = columns | reject('in', keys) | list %}
    {% set compared = values | reject('equalto', '_build') | list %}
    {% set same_key %}
        {% for key in keys %}
        old.{{ stored([key], names)[0] }} = new.{{ key }} {% if not loop.last %}and{% endif %}
        {% endfor %}
    {% endset %}

    {% call statement('delete') %}
        {% if is_incremental_build() %}
        select where false
        {% else %}
        delete from {{ target }} as old
        where not exists (select from {{ temporary }} as new where {{ same_key }})
        {% endif %}
    {% endcall %}
    {% call statement('update') %}
        update {{ target }} as old
        set ({{ stored(values, names) | join(', ') }})
            = row(new.{{ values | join(', new.') }})
        from {{ temporary }} as new
        where
            {{ same_key }}
            and (old.{{ stored(compared, names) | join(', old.') }})
            is distinct from (new.{{ compared | join(', new.') }})
    {% endcall %}
    {% call statement('insert') %}
        insert into {{ target }} ({{ stored(columns, names) | join(', ') }})
        select new.{{ columns | join(', new.') }}
        from {{ temporary }} as new
        where not exists (select from {{ target }} as old where {{ same_key }})
    {% endcall %}
    {% set changed = namespace(rows=0) %}
    {% for name in ('delete', 'update', 'insert') %}
        {% set changed.rows = changed.rows
            + load_result(name)['response'].rows_affected %}
    {% endfor %}
    {{ return(changed.rows) }}
{% endmacro %}


-- The names of columns in the table, in which some have a temporary name.
{% macro stored(columns, names) %}
    {% set result = [] %}
    {% for column in columns %}
        {% do result.append((names or {}).get(column, column)) %}
    {% endfor %}
    {{ return(result) }}
{% endmacro %}
