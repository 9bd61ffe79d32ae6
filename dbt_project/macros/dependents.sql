-- Keeps other people's views of this project's tables and views, and grants, when a
-- model changes.

-- The views that depend on a relation, or on some of its columns; first those that no
-- other view depends on.
{% macro dependents_of(relation, columns=none) %}
    {% set own = [] %}
    {% for node in graph.nodes.values() if node.resource_type == 'model' %}
        {% do own.append(node.schema ~ '.' ~ node.alias) %}
    {% endfor %}
    {% set query %}
        with recursive rules as (
            select
                dependency.refobjid as relation,
                dependency.refobjsubid as attribute,
                rewrite.ev_class as view
            from pg_depend as dependency
            inner join pg_rewrite as rewrite on dependency.objid = rewrite.oid
            where
                dependency.classid = 'pg_rewrite'::regclass
                and dependency.refclassid = 'pg_class'::regclass
                and rewrite.ev_class <> dependency.refobjid
        ),

        dependents as (
            select
                view,
                1 as depth
            from rules
            where
                relation = '{{ relation }}'::regclass
                {% if columns is not none %}
                and attribute in (
                    select attnum
                    from pg_attribute
                    where
                        attrelid = '{{ relation }}'::regclass
                        and attname in ('{{ columns | join("', '") }}')
                )
                {% endif %}
            union
            select
                rules.view,
                dependents.depth + 1
            from dependents
            inner join rules on dependents.view = rules.relation
        )

        select
            format('%I.%I', namespace.nspname, class.relname) as name,
            class.relkind = 'm' as is_materialized,
            namespace.nspname || '.' || class.relname in ('{{ own | join("', '") }}')
            as is_own,
            pg_get_viewdef(class.oid) as definition
        from dependents
        inner join pg_class as class on dependents.view = class.oid
        inner join pg_namespace as namespace on class.relnamespace = namespace.oid
        group by class.oid, class.relname, class.relkind, namespace.nspname
        order by max(dependents.depth) desc, name
    {% endset %}
    {{ return(run_query(query).rows) }}
{% endmacro %}


-- Descriptions of the dependent views that are not models of this project.
{% macro foreign_dependents(relation, columns=none) %}
    {% set names = [] %}
    {% for name, is_materialized, is_own, _ in dependents_of(relation, columns) %}
        {% if not is_own %}
            {% do names.append(
                ('materialized view ' if is_materialized else 'view ') ~ name
            ) %}
        {% endif %}
    {% endfor %}
    {{ return(names | sort) }}
{% endmacro %}


-- Fails the build of a model whose change would drop other people's views, unless the
-- build may drop them.
{% macro require_droppable_dependents(relation, change, columns=none) %}
    {% set foreign = foreign_dependents(relation, columns) %}
    {% if foreign and not var('drop_dependents', false) %}
        {% do exceptions.raise_compiler_error(
            this.schema ~ '.' ~ this.name ~ ' (' ~ change ~ ') cannot change while '
            ~ foreign | join(' and ') ~ ' would be lost with it: alter or drop '
            ~ ('that' if foreign | length == 1 else 'those')
            ~ ', or launch the job rebuild_marts with drop_dependents: true.'
        ) %}
    {% endif %}
    {{ return(foreign) }}
{% endmacro %}


-- Prepares a change of a relation, or of some of its columns, that requires to drop
-- dependent views. Those of this project are dropped; the statements that recreate them
-- with their grants are returned for `restore_dependents`. Other people's views are
-- reported, and dropped by a `cascade` that is returned for the change itself: they
-- cannot be dropped by name, because they have another owner.
{% macro drop_dependents(relation, change, columns=none) %}
    {% set foreign = require_droppable_dependents(relation, change, columns) %}
    {% set cascade = ' cascade' if foreign else '' %}
    {% if foreign %}
        {% do exceptions.warn(
            this.schema ~ '.' ~ this.name ~ ' (' ~ change ~ ') has changed; dropped '
            ~ 'with it: ' ~ foreign | join(', ') ~ '.'
        ) %}
    {% endif %}
    {% set statements = [] %}
    {% for name, _, is_own, definition in dependents_of(relation, columns) if is_own %}
        {% do statements.insert(0, (
            ['create view ' ~ name ~ ' as ' ~ definition.rstrip(';')] + grants_on(name)
        )) %}
        {% do run_query('drop view ' ~ name ~ cascade) %}
    {% endfor %}
    {{ return({'restore': statements, 'cascade': cascade}) }}
{% endmacro %}


-- Recreates the dropped views until their own models are built, later in the build. A
-- view that uses a removed column cannot be recreated; its model does that.
{% macro restore_dependents(dependents) %}
    {% for statements in dependents.restore %}
        {% do run_query(
            'do $restore$ begin ' ~ statements | join('; ') ~ '; '
            ~ 'exception when syntax_error_or_access_rule_violation then null; '
            ~ 'end $restore$'
        ) %}
    {% endfor %}
{% endmacro %}


-- The statements that restore the grants on a relation and its columns, regardless of
-- their origin: a person, dbt's config, default privileges.
{% macro grants_on(relation) %}
    {% set query %}
        select format(
            'grant %s%s on %s to %s%s',
            privilege.privilege_type,
            ' (' || quote_ident(granted.attribute) || ')',
            '{{ relation }}',
            case privilege.grantee
                when 0 then 'public' else privilege.grantee::regrole::text
            end,
            case when privilege.is_grantable then ' with grant option' end
        ) as statement
        from (
            select
                relowner as owner,
                null as attribute,
                relacl as acl
            from pg_class
            where oid = '{{ relation }}'::regclass
            union all
            select
                class.relowner,
                attribute.attname,
                attribute.attacl
            from pg_attribute as attribute
            inner join pg_class as class on attribute.attrelid = class.oid
            where attribute.attrelid = '{{ relation }}'::regclass
        ) as granted
        cross join lateral aclexplode(granted.acl) as privilege
        where privilege.grantee <> granted.owner
        order by statement
    {% endset %}
    {{ return(run_query(query).rows | map(attribute='statement') | list) }}
{% endmacro %}


-- Drops a relation whose name is needed for another one; returns the statements that
-- restore its dependents and its grants.
{% macro make_way(relation, kind, change) %}
    {% set dependents = drop_dependents(relation, change) %}
    {% set grants = grants_on(relation) %}
    {% do run_query('drop ' ~ kind ~ ' ' ~ relation ~ dependents.cascade) %}
    {% do dependents.restore.insert(0, grants) if grants %}
    {{ return(dependents) }}
{% endmacro %}


-- The current kind of a relation, as in SQL's drop; none if it does not exist. dbt's
-- cache does not know what other models of this build have dropped.
{% macro kind_of(relation) %}
    {% set query %}
        select case relkind
            when 'v' then 'view'
            when 'm' then 'materialized view'
            else 'table'
        end as kind
        from pg_class
        where oid = to_regclass('{{ relation }}')
    {% endset %}
    {% for row in run_query(query).rows %}
        {{ return(row.kind) }}
    {% endfor %}
    {{ return(none) }}
{% endmacro %}
