-- The materialization of views: an existing view is left untouched while it matches its
-- model, and replaced in place otherwise. Dependent objects of other people and grants
-- are kept, and readers never wait if nothing changes. Columns keep their order, since
-- Postgres can add columns only at the end of a view.
--
-- dbt's own `view` recreates each view in each build, and drops the old one with
-- cascade.
{% materialization view, adapter='postgres' %}
    {% set target = this.incorporate(type='view') %}
    {% set draft = make_temp_relation(target) %}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% call statement('draft') %}
        create temporary view {{ draft }} as ({{ sql }})
    {% endcall %}
    {% set kind = kind_of(target) %}
    {% set wanted = columns_of_relation(draft) %}
    {% set stored = columns_of_relation(target) if kind == 'view' else {} %}
    {% set lost = column_differences(target, wanted, only_lost=True)
        if stored else '' %}
    {% set change = namespace(action=none, query=sql) %}
    {% if kind is none %}
        {% set change.action = 'create' %}
    {% elif kind != 'view' or lost %}
        {% set change.action = 'recreate' %}
    {% else %}
        {% set columns = (stored | list) + (wanted | reject('in', stored) | list) %}
        {% if columns != wanted | list %}
            {% set change.query = 'select ' ~ columns | join(', ')
                ~ ' from (' ~ sql ~ '\n) as model' %}
            {% do run_query('drop view ' ~ draft) %}
            {% do run_query(
                'create temporary view ' ~ draft ~ ' as (' ~ change.query ~ ')'
            ) %}
        {% endif %}
        {% set is_same = run_query(
            "select pg_get_viewdef('" ~ draft ~ "'::regclass)"
            ~ " = pg_get_viewdef('" ~ target ~ "'::regclass)"
        ).rows[0][0] %}
        {% set change.action = none if is_same else 'replace' %}
    {% endif %}
    {% do run_query('drop view ' ~ draft) %}

    {% if change.action == 'recreate' %}
        {% set dependents = make_way(
            target, kind, lost or 'a view in place of a ' ~ kind
        ) %}
    {% endif %}
    {% if change.action %}
        {% do run_query(
            'create or replace view ' ~ target ~ ' as (' ~ change.query ~ '\n)'
        ) %}
    {% endif %}
    {% if change.action == 'recreate' %}
        {% do restore_dependents(dependents) %}
    {% endif %}
    {% if change.action or should_full_refresh() %}
        {% do apply_grants(target, config.get('grants'), should_revoke=False) %}
        {% do persist_docs(target, model) %}
    {% endif %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {% do store_raw_result(
        'main', message=change.action or 'unchanged', code='VIEW', rows_affected=none
    ) %}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}
