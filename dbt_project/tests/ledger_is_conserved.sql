-- Nothing is lost between the archive and the marts. For each table and landed day:
-- read = landed + rejected; rows landed = rows staged; rows rejected = rows in quarantine (warnings aside).
-- The table `lists` is not staged: the report of the day's releases reads it from the landing.
{%- set tables = [
    'rooms', 'room_changes', 'authors', 'users', 'impressions', 'plays', 'comments', 'speech', 'likes', 'gifts', 'shares',
    'follows', 'content_vectors', 'frames'
] %}
with ledger as (

    select table_name, dt, sum(n_read) as n_read, sum(n_landed) as n_landed, sum(n_rejected) as n_rejected
    from {{ ref('stg_ledger') }}
    where dt between {{ first_recomputed_day() }} and {{ last_recomputed_day() }}
    group by all

),

landed_days as (

    select distinct dt from {{ ref('stg_ledger') }}

),

staged as (

    {% for table in tables -%}
    select '{{ table }}' as table_name, dt, count(*) as n_staged
    from {{ ref('stg_' ~ table) }}
    where dt between {{ first_recomputed_day() }} and {{ last_recomputed_day() }} and dt in (select dt from landed_days)
    group by all
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

quarantined as (

    select table_name, dt, count(*) as n_quarantined
    from {{ ref('quarantine') }}
    where
        dt between {{ first_recomputed_day() }} and {{ last_recomputed_day() }}
        and dt in (select dt from landed_days)
        and reason <> 'unknown_field'
    group by all

)

select
    table_name,
    dt,
    coalesce(n_read, 0) as n_read,
    coalesce(n_landed, 0) as n_landed,
    coalesce(n_rejected, 0) as n_rejected,
    coalesce(n_staged, 0) as n_staged,
    coalesce(n_quarantined, 0) as n_quarantined
from ledger
full join staged using (table_name, dt)
full join quarantined using (table_name, dt)
where
    coalesce(n_read, 0) <> coalesce(n_landed, 0) + coalesce(n_rejected, 0)
    or (table_name <> 'lists' and coalesce(n_landed, 0) <> coalesce(n_staged, 0))
    or coalesce(n_rejected, 0) <> coalesce(n_quarantined, 0)
