-- The rights of hiring_reader, the role of BI tools, on a model: every column that its
-- yml describes, but for what may say who somebody is. That is whatever has the name of
-- a column that the contract classifies as personal, and what the yml marks with
-- `meta: {personal: true}`: text as it was delivered, which may hold anything. Written
-- after each build, where it is not so already: no change of a model can show more.
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


-- The names in the models of the columns that the contract classifies as personal.
{% macro personal_values() %}
    {% set names = [] %}
    {% for columns in contract().values() %}
        {% for column in columns if column.personal %}
            {% do names.append(column.value) %}
        {% endfor %}
    {% endfor %}
    {{ return(names) }}
{% endmacro %}
