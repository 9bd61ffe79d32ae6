-- Grants hiring_reader, the role of BI tools, select on every column that a model's yml
-- describes, except personal data. Personal are columns with the name of a column that
-- the contract classifies as personal, and those with `meta: {personal: true}` in the
-- yml: text as delivered, which may contain anything. Runs after each build and changes
-- only grants that differ, so that no change of a model can expose more.
{% macro grant_to_reader() %}
    {% if not execute %}
        {{ return('') }}
    {% endif %}
    {% set personal = personal_values() %}
    {% set stored = columns_of_relation(this) | list %}
    {% set open = [] %}
    {% for name in stored if name in model.columns and name not in personal %}
        {% if not model.columns[name].config.meta.get('personal') %}
            {% do open.append(name) %}
        {% endif %}
    {% endfor %}
    {% set query %}
        select attname::text as name
        from pg_attribute
        where
            attrelid = '{{ this }}'::regclass
            and attnum > 0
            and not attisdropped
            and has_column_privilege('hiring_reader', attrelid, attnum, 'select')
        order by attnum
    {% endset %}
    {% if run_query(query).rows | map(attribute='name') | list == open %}
        {{ return('') }}
    {% endif %}
    {% set columns = '' if open == stored else ' (' ~ open | join(', ') ~ ')' %}
    {{ return(
        'revoke select on ' ~ this ~ ' from hiring_reader; '
        ~ 'grant select' ~ columns ~ ' on ' ~ this ~ ' to hiring_reader'
    ) }}
{% endmacro %}


-- The model columns' names of columns that the contract classifies as personal.
{% macro personal_values() %}
    {% set names = [] %}
    {% for columns in contract().values() %}
        {% for column in columns if column.personal %}
            {% do names.append(column.value) %}
        {% endfor %}
    {% endfor %}
    {{ return(names) }}
{% endmacro %}
