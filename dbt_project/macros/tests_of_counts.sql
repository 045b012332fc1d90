{#- Rows of <person>s_daily on the last recomputed day that differ from a count over all interactions. -#}
{% macro daily_counts_differ(person) %}
with daily as (

    select * from {{ ref(person ~ 's_daily') }}
    where dt = (
        select max(dt) from {{ ref(person ~ 's_daily') }} where dt between {{ first_recomputed_day() }} and {{ last_recomputed_day() }}
    )

),

checked_day as (

    select max(dt) as day_at from daily

),

known as (

    select
        {{ person }}_id,
        count(*) filter (shown_at < day_at) as impressions,
        count(*) filter (click = 1 and click_known_at < day_at) as clicks,
        count(*) filter (long_view = 1 and long_view_known_at < day_at) as long_views,
        count(*) filter ("like" = 1 and like_known_at < day_at) as likes,
        count(*) filter ("comment" = 1 and comment_known_at < day_at) as comments,
        count(*) filter (gift = 1 and gift_known_at < day_at) as gifts
    from {{ ref('interactions') }}
    cross join checked_day
    where dt <= day_at
    group by all

)

select daily.*, known.* exclude ({{ person }}_id)
from daily
left join known using ({{ person }}_id)
where
    {%- for measure in ['impressions', 'clicks', 'long_views', 'likes', 'comments', 'gifts'] %}
    daily.{{ measure }} <> coalesce(known.{{ measure }}, 0) {{ 'or' if not loop.last }}
    {%- endfor %}
{% endmacro %}
