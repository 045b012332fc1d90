{#-
  The only place that says which days a run recomputes.

  Asked for start..end (LIVEALIGN_START_DAY and LIVEALIGN_END_DAY of the environment; without them every landed day), a run
  recomputes
    from  start - 1       labels of a late evening become known on the next day, and a room may go on past midnight
    to    end             where nothing later has been built, the usual case; otherwise
          end + 1         ('next') what looks back one day: segments at decision time, sessions over midnight
          the last day    ('later') what looks back without limit: running counts
  so that building days at once, one by one, or in any order ends in the same marts.

  A model is written for a span of days, `first_day()` to `last_day()`. The materialization `days` lays the recomputed days out
  in such spans, small enough for memory, and tells each by two variables of DuckDB, so that views on the way see them too.
  Tests of views, where nobody sets the variables, see all days that were asked for.
-#}

{#- Read at execution alone: a variable of dbt, or of an environment that parsing reads, would have every day's run parse anew. -#}
{% macro start_day() %} {{ return(env_var('LIVEALIGN_START_DAY', '2000-01-01') if execute else '2000-01-01') }} {% endmacro %}

{% macro end_day() %} {{ return(env_var('LIVEALIGN_END_DAY', '2999-12-31') if execute else '2999-12-31') }} {% endmacro %}

{% macro first_day() -%} coalesce(getvariable('first_day')::date, {{ first_recomputed_day() }}) {%- endmacro %}

{% macro last_day() -%} coalesce(getvariable('last_day')::date, date '{{ end_day() }}') {%- endmacro %}

{% macro first_recomputed_day() -%}
    {%- set start = modules.datetime.date.fromisoformat(start_day()) -%}
    date '{{ start - modules.datetime.timedelta(days=1) }}'
{%- endmacro %}

{% macro last_recomputed_day(reach='next') -%}
    {%- if reach not in ('next', 'later') -%}
        {{ exceptions.raise_compiler_error("last_recomputed_day: reach is 'next' or 'later', not '" ~ reach ~ "'") }}
    {%- endif -%}
    {%- set end = modules.datetime.date.fromisoformat(end_day()) -%}
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

{#-
  The recomputed days that a model has rows on, with how many rows were landed on each: the landed ones, and for models that
  go on past midnight (`over_midnight`) also a day between landed ones that was not landed itself.
-#}
{% macro recomputed_days(reach, over_midnight) %}
    {#- By name, for a materialization can refer to nothing: rooms and quarantine say that they depend on it, all others do. -#}
    {%- set ledger = this.incorporate(path={'schema': 'staging', 'identifier': 'stg_ledger'}) -%}
    {%- set query -%}
        with landed as (

            select dt, sum(n_landed) as n_rows from {{ ledger }} group by dt

        ),

        touched as (

            select dt, n_rows from landed
            {% if over_midnight -%}
            union all
            select dt + 1, 0 from landed
            where dt + 1 not in (select dt from landed) and dt < (select max(dt) from landed)
            {%- endif %}

        )

        select dt, n_rows from touched
        where dt between {{ first_recomputed_day() }} and {{ last_recomputed_day(reach) }}
        order by dt
    {%- endset -%}
    {%- set found = run_query(query) -%}
    {{ return(zip(found.columns[0].values(), found.columns[1].values()) | list) }}
{% endmacro %}

{#- Those days in spans of about `rows_at_once` landed rows, at least a day each. -#}
{% macro spans_of(days) %}
    {%- set spans, n_rows = [], [] -%}
    {%- for day, landed in days -%}
        {%- if spans and n_rows | sum + landed <= var('rows_at_once') -%}
            {%- do spans[-1].append(day) -%}
        {%- else -%}
            {%- do spans.append([day]) -%}
            {%- do n_rows.clear() -%}
        {%- endif -%}
        {%- do n_rows.append(landed) -%}
    {%- endfor -%}
    {{ return(spans) }}
{% endmacro %}

{#- Generic tests read only recomputed days: their `where` is `__recomputed_days__` (see dbt_project.yml). -#}
{% macro get_where_subquery(relation) -%}
    {%- set where = config.get('where', '') -%}
    {%- if not where -%} {{ return(relation) }} {%- endif -%}
    {%- set days = 'dt between ' ~ first_recomputed_day() ~ ' and ' ~ last_recomputed_day() -%}
    {{ return('(select * from ' ~ relation ~ ' where ' ~ where.replace('__recomputed_days__', days) ~ ')') }}
{%- endmacro %}
