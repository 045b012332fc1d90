{% macro counted_outcomes() %}
    {{ return(['impressions', 'clicks', 'watch_ms', 'long_views', 'likes', 'comments', 'gifts', 'rooms']) }}
{% endmacro %}

{#-
  Counts for each person (`author` or `user`) and day. An outcome counts on the day on which it became known, which may be
  the day after its impression: a sum over the days before dt is what could be known when dt began.
  `rooms` is a query for (person id, dt, number of rooms).
-#}
{% macro counts_by_day(person, rooms, first, last) %}
{%- set labels = [
    ('clicks', 'click'), ('long_views', 'long_view'), ('likes', 'like'), ('comments', 'comment'), ('gifts', 'gift')
] %}
with interactions as (

    select
        {{ person }}_id,
        dt,
        {%- for _, label in labels %}
        "{{ label }}",
        "{{ label }}_known_at",
        {%- endfor %}
        watch_seconds_known_at,
        -- Whole milliseconds: sums of integers do not depend on the order.
        round(watch_seconds * 1000)::bigint as watch_ms,
        room_id
    from {{ ref('interactions') }}
    -- An outcome is known less than a day after its impression.
    where dt between {{ first }} - 1 and {{ last }}

),

-- Nearly every outcome is known on the day of its impression: those are counted in one go.
on_the_day as (

    select
        {{ person }}_id,
        dt,
        count(*) as impressions,
        sum(watch_ms) filter (watch_seconds_known_at < dt + 1) as watch_ms,
        {%- for measure, label in labels %}
        count(*) filter ("{{ label }}" = 1 and "{{ label }}_known_at" < dt + 1) as {{ measure }},
        {%- endfor %}
        0 as rooms
    from interactions
    group by all

),

late as (

    select *, dt + 1 as next_day
    from interactions
    where
        watch_seconds_known_at >= dt + 1
        {%- for _, label in labels %}
        or "{{ label }}_known_at" >= dt + 1
        {%- endfor %}

),

on_the_next_day as (

    select
        {{ person }}_id,
        next_day as dt,
        0 as impressions,
        sum(watch_ms) filter (watch_seconds_known_at >= next_day) as watch_ms,
        {%- for measure, label in labels %}
        count(*) filter ("{{ label }}" = 1 and "{{ label }}_known_at" >= next_day) as {{ measure }},
        {%- endfor %}
        0 as rooms
    from late
    group by all

),

counts as (

    select * from on_the_day
    union all by name
    select * from on_the_next_day
    union all by name
    select {{ person }}_id, dt, n_rooms as rooms from ({{ rooms }})

)

select
    {{ person }}_id,
    dt,
    {%- for measure in counted_outcomes() %}
    coalesce(sum({{ measure }}), 0)::bigint as {{ measure }}{{ ',' if not loop.last }}
    {%- endfor %}
from counts
where dt between {{ first }} and {{ last }}
group by all
-- A late impression may have no outcome on the next day.
having {% for measure in counted_outcomes() -%} sum({{ measure }}) > 0 {{ 'or ' if not loop.last }} {%- endfor %}
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
