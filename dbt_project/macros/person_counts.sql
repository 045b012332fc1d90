{% macro counted_outcomes() %}
    {{ return(['impressions', 'clicks', 'watch_ms', 'long_views', 'likes', 'comments', 'gifts', 'rooms']) }}
{% endmacro %}

{#-
  Counts for each person (`author` or `user`) and day. An outcome counts on the day on which it became known, which may be
  the day after its impression: a sum over the days before dt is what could be known when dt began.
  `rooms` is a query for (person id, dt, number of rooms).
-#}
{% macro counts_by_day(person, rooms, first, last) %}
with interactions as (

    select * from {{ ref('interactions') }}
    -- An outcome is known less than a day after its impression.
    where dt between {{ first }} - 1 and {{ last }}

),

events as (

    select {{ person }}_id, dt, 'impressions' as measure, 1 as amount from interactions
    {%- for measure, label in [
        ('clicks', 'click'), ('long_views', 'long_view'), ('likes', 'like'), ('comments', 'comment'), ('gifts', 'gift')
    ] %}
    union all
    select {{ person }}_id, "{{ label }}_known_at"::date, '{{ measure }}', 1 from interactions where "{{ label }}" = 1
    {%- endfor %}
    union all
    -- Whole milliseconds: sums of integers do not depend on the order.
    select {{ person }}_id, watch_seconds_known_at::date, 'watch_ms', round(watch_seconds * 1000)::bigint
    from interactions where watch_seconds > 0
    union all
    select {{ person }}_id, dt, 'rooms', n_rooms from ({{ rooms }})

)

select
    {{ person }}_id,
    dt,
    {%- for measure in counted_outcomes() %}
    (coalesce(sum(amount) filter (measure = '{{ measure }}'), 0))::bigint as {{ measure }}{{ ',' if not loop.last }}
    {%- endfor %}
from events
where dt between {{ first }} and {{ last }}
group by all
{% endmacro %}

{#- Running counts for each person and landed day: everything of the days before, for every person seen up to that day. -#}
{% macro counts_before_day(person, by_day, first, last) %}
with counts as (

    select * from {{ by_day }} where dt <= {{ last }}

),

landed as (

    select distinct dt from {{ ref('stg_ledger') }} where dt between {{ first }} and {{ last }}

),

-- Days that were not landed are in between too: an outcome may have become known on one.
days as (

    select unnest(generate_series(min(dt), max(dt), interval 1 day))::date as dt from landed

),

persons as (

    select
        {{ person }}_id,
        min(dt) as first_seen,
        {%- for measure in counted_outcomes() %}
        coalesce(sum({{ measure }}) filter (dt < (select min(dt) from landed)), 0) as {{ measure }}{{ ',' if not loop.last }}
        {%- endfor %}
    from counts
    group by all

),

running as (

    select
        persons.{{ person }}_id,
        days.dt,
        {%- for measure in counted_outcomes() %}
        (persons.{{ measure }} + coalesce(sum(counts.{{ measure }}) over earlier, 0))::bigint as {{ measure }}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from persons
    inner join days on persons.first_seen <= days.dt
    left join counts on persons.{{ person }}_id = counts.{{ person }}_id and days.dt = counts.dt
    window earlier as (
        partition by persons.{{ person }}_id order by days.dt rows between unbounded preceding and 1 preceding
    )

)

select
    {{ person }}_id,
    dt,
    impressions,
    clicks,
    watch_ms / 1000.0 as watch_seconds,
    long_views,
    likes,
    comments,
    gifts,
    rooms
from running
where dt in (select dt from landed)
{% endmacro %}
