-- Alters a table to the columns, key and indexes of its model: in place, so that grants
-- and dependent objects of other people are kept, and in two steps, so that readers
-- wait only briefly. The first step adds columns and commits. Then the rows are
-- written, which takes long but blocks nobody. The second step drops removed columns in
-- the same transaction as the rows. If a build ends in between, the next one continues.

-- The first step, in a separate transaction. Returns the input of the second step:
--   change   a description of the differences
--   lost     columns that were removed or whose type has changed
--   retyped  the temporary name of each column whose type has changed
{% macro begin_restructuring(target, sql) %}
    {% set draft = make_temp_relation(target) %}
    {% call statement('draft') %}
        create temporary view {{ draft }} as ({{ sql }})
    {% endcall %}
    {% set wanted = columns_of_relation(draft) %}
    {% do run_query('drop view ' ~ draft) %}
    {% set stored = columns_of_relation(target) %}
    {% set retyped, lost, alterations = {}, [], [] %}
    {% for name, type in wanted.items() %}
        {% if name not in stored %}
            {% do alterations.append('add column ' ~ name ~ ' ' ~ type) %}
        {% elif type != stored[name] %}
            {% do retyped.update({name: name ~ '__new'}) %}
            {% do lost.append(name) %}
            {% do alterations.append(
                'add column if not exists ' ~ retyped[name] ~ ' ' ~ type
            ) %}
        {% endif %}
    {% endfor %}
    {% do lost.extend(stored | reject('in', wanted) | reject('in', retyped.values())) %}
    {% set change = column_differences(target, wanted) %}
    {% if lost %}
        {% do require_droppable_dependents(target, change, lost) %}
    {% endif %}
    {% if change and config.get('contract').enforced %}
        {% do get_assert_columns_equivalent(sql) %}
    {% endif %}

    {% for name in lost %}
        {% do alterations.append('alter column ' ~ name ~ ' drop not null') %}
    {% endfor %}
    {% set key = key_of_relation(target) %}
    {% if key
        and (key.columns != key_columns() or key.columns | select('in', lost) | list) %}
        {# First, because columns of a key cannot be null. #}
        {% do alterations.insert(0, 'drop constraint ' ~ key.name) %}
    {% endif %}
    {% if alterations %}
        {% do run_query(
            'alter table ' ~ target ~ ' ' ~ alterations | join(', ')
        ) %}
        {% do adapter.commit() %}
        {# The driver begins a transaction only with its first statement. #}
        {% do run_query('begin') %}
    {% endif %}
    {{ return({'change': change, 'lost': lost, 'retyped': retyped}) }}
{% endmacro %}


-- The second step, after the rows were written. Returns whether the table has changed.
{% macro finish_restructuring(target, structure) %}
    {% if structure.lost %}
        {% set dependents = drop_dependents(target, structure.change, structure.lost) %}
        {% do run_query(
            'alter table ' ~ target ~ ' drop column '
            ~ structure.lost | join(dependents.cascade ~ ', drop column ')
            ~ dependents.cascade
        ) %}
        {% for name, temporary_name in structure.retyped.items() %}
            {% do run_query(
                'alter table ' ~ target ~ ' rename column ' ~ temporary_name
                ~ ' to ' ~ name
            ) %}
        {% endfor %}
        {% do restore_dependents(dependents) %}
    {% endif %}
    {% if config.get('contract').enforced %}
        {% do require_values(target) %}
    {% endif %}
    {% set has_key = key_of_relation(target) %}
    {% if not has_key %}
        {% do run_query(
            'alter table ' ~ target ~ ' add primary key ('
            ~ key_columns() | join(', ') ~ ')'
        ) %}
    {% endif %}
    {% do create_missing_indexes(target) %}
    {{ return(structure.change != '' or not has_key) }}
{% endmacro %}


-- The name and the columns of a table's primary key; none if it has none.
{% macro key_of_relation(relation) %}
    {% set query %}
        select
            key.conname::text as name,
            string_agg(attribute.attname, ' ' order by part.place) as columns
        from pg_constraint as key
        cross join lateral unnest(key.conkey) with ordinality as part (attnum, place)
        inner join pg_attribute as attribute
            on key.conrelid = attribute.attrelid and part.attnum = attribute.attnum
        where key.conrelid = '{{ relation }}'::regclass and key.contype = 'p'
        group by key.conname
    {% endset %}
    {% for name, columns in run_query(query).rows %}
        {{ return({'name': name, 'columns': columns.split()}) }}
    {% endfor %}
    {{ return(none) }}
{% endmacro %}


-- Sets the not-null constraints of the model's contract.
{% macro require_values(target) %}
    {% set query %}
        select attname::text as name
        from pg_attribute
        where
            attrelid = '{{ target }}'::regclass
            and attnum > 0
            and not attisdropped
            and not attnotnull
    {% endset %}
    {% for name in run_query(query).rows | map(attribute='name') | list %}
        {% for constraint in model.columns.get(name, {}).get('constraints', [])
            if constraint.type == 'not_null' %}
            {% do run_query(
                'alter table ' ~ target ~ ' alter column ' ~ name ~ ' set not null'
            ) %}
        {% endfor %}
    {% endfor %}
{% endmacro %}


-- Creates missing indexes of the model. They are created on an empty temporary table
-- first, to compare their definitions in Postgres's notation.
{% macro create_missing_indexes(target) %}
    {% set pattern = make_temp_relation(target, '__dbt_pattern') %}
    {% if config.meta_get('indexes') %}
        {% do run_query(
            'create temporary table ' ~ pattern ~ ' (like ' ~ target ~ ')'
            ~ ' on commit drop'
        ) %}
        {% for index in config.meta_get('indexes') %}
            {% do run_query('create index on ' ~ pattern ~ ' ' ~ index) %}
        {% endfor %}
        {% set query %}
            {% for relation in (pattern, target) %}
            select substring(pg_get_indexdef(indexrelid) from ' USING .*') as index
            from pg_index
            where indrelid = '{{ relation }}'::regclass
            {% if not loop.last %}except{% endif %}
            {% endfor %}
        {% endset %}
        {% for index in run_query(query).rows | map(attribute='index') | list %}
            {% do run_query('create index on ' ~ target ~ index) %}
        {% endfor %}
    {% endif %}
{% endmacro %}
