{#-
  The only place that says which days a run recomputes.

  Asked for start_day..end_day, a run recomputes
    from  start_day - 1   labels of a late evening become known on the next day, and a room may go on past midnight
    to    end_day         where nothing later has been built, the usual case; otherwise
          end_day + 1     ('next') what looks back one day: segments at decision time, sessions over midnight
          the last day    ('later') what looks back without limit: histories and running counts
  so that building days at once, one by one, or in any order ends in the same marts.
-#}

{% macro first_day() -%}
    {%- set start = modules.datetime.date.fromisoformat(var('start_day') | string) -%}
    date '{{ start - modules.datetime.timedelta(days=1) }}'
{%- endmacro %}

{% macro last_day(reach='next') -%}
    {%- if reach not in ('next', 'later') -%}
        {{ exceptions.raise_compiler_error("last_day: reach is 'next' or 'later', not '" ~ reach ~ "'") }}
    {%- endif -%}
    {%- set end = modules.datetime.date.fromisoformat(var('end_day') | string) -%}
    {%- set built = last_built_day() -%}
    {%- if built is not none and built > end -%}
        {%- set end = built if reach == 'later' else end + modules.datetime.timedelta(days=1) -%}
    {%- endif -%}
    date '{{ end }}'
{%- endmacro %}

{#- The last day in the warehouse, or none. `users_daily` tells it: it is built last and has rows on every day. -#}
{% macro last_built_day() %}
    {%- if not execute or flags.FULL_REFRESH -%} {{ return(none) }} {%- endif -%}
    {%- set marker = adapter.get_relation(database=target.database, schema='marts', identifier='users_daily') -%}
    {%- if marker is none -%} {{ return(none) }} {%- endif -%}
    {{ return(run_query('select max(dt) from ' ~ marker).columns[0].values()[0]) }}
{% endmacro %}

{#- Incremental strategy `replace_days`: the recomputed days are deleted, also those that have become empty, and inserted. -#}
{% macro get_incremental_replace_days_sql(arg_dict) %}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    {%- set reach = config.get('meta', {}).get('reach', 'next') %}
    delete from {{ arg_dict['target_relation'] }} where dt between {{ first_day() }} and {{ last_day(reach) }};
    insert into {{ arg_dict['target_relation'] }} ({{ columns }}) select {{ columns }} from {{ arg_dict['temp_relation'] }}
{% endmacro %}

{#- Generic tests read only recomputed days: their `where` is `__recomputed_days__` (see dbt_project.yml). -#}
{% macro get_where_subquery(relation) -%}
    {%- set where = config.get('where', '') -%}
    {%- if not where -%} {{ return(relation) }} {%- endif -%}
    {%- set days = 'dt between ' ~ first_day() ~ ' and ' ~ last_day() -%}
    {{ return('(select * from ' ~ relation ~ ' where ' ~ where.replace('__recomputed_days__', days) ~ ')') }}
{%- endmacro %}
