{#-
  Rows of <person>s_daily on the last recomputed day that differ from a count of the interactions. It goes on from the last landed
  day before the recomputed ones, which was checked when it was built: so one more day costs the same after ten days and a hundred.
-#}
{% macro daily_counts_differ(person) %}
{%- set measures = ['impressions', 'clicks', 'long_views', 'likes', 'comments', 'gifts'] -%}
{%- set checked_before = "date '" ~ last_day_before_recomputed(person ~ 's_daily') ~ "'" -%}
with daily as (

    select * from {{ ref(person ~ 's_daily') }}
    where dt = (
        select max(dt) from {{ ref(person ~ 's_daily') }} where dt between {{ first_recomputed_day() }} and {{ last_recomputed_day() }}
    )

),

checked_day as (

    select max(dt) as day_at from daily

),

before as (

    select * from {{ ref(person ~ 's_daily') }} where dt = {{ checked_before }}

),

interactions as (

    select *, {{ checked_before }} as known_from
    from {{ ref('interactions') }}
    cross join checked_day
    -- An outcome is known less than a day after its impression.
    where dt between {{ checked_before }} - 1 and {{ last_recomputed_day() }}

),

since as (

    select
        {{ person }}_id,
        count(*) filter (shown_at >= known_from and shown_at < day_at) as impressions,
        count(*) filter (click = 1 and click_known_at >= known_from and click_known_at < day_at) as clicks,
        count(*) filter (long_view = 1 and long_view_known_at >= known_from and long_view_known_at < day_at) as long_views,
        count(*) filter ("like" = 1 and like_known_at >= known_from and like_known_at < day_at) as likes,
        count(*) filter ("comment" = 1 and comment_known_at >= known_from and comment_known_at < day_at) as comments,
        count(*) filter (gift = 1 and gift_known_at >= known_from and gift_known_at < day_at) as gifts
    from interactions
    group by all

)

select
    daily.*,
    {%- for measure in measures %}
    coalesce(before.{{ measure }}, 0) + coalesce(since.{{ measure }}, 0) as known_{{ measure }}{{ ',' if not loop.last }}
    {%- endfor %}
from daily
left join before on daily.{{ person }}_id = before.{{ person }}_id
left join since on daily.{{ person }}_id = since.{{ person }}_id
where
    {%- for measure in measures %}
    daily.{{ measure }} <> known_{{ measure }} {{ 'or' if not loop.last }}
    {%- endfor %}
{% endmacro %}

{#- The last day before the recomputed ones that a mart has, 1970-01-01 where there is none, or no mart yet (`dbt docs`). -#}
{% macro last_day_before_recomputed(mart) %}
    {%- if not execute or load_relation(ref(mart)) is none -%} {{ return('1970-01-01') }} {%- endif -%}
    {%- set query = "select coalesce(max(dt), date '1970-01-01') from " ~ ref(mart) ~ " where dt < " ~ first_recomputed_day() -%}
    {{ return(run_query(query).columns[0].values()[0]) }}
{% endmacro %}
