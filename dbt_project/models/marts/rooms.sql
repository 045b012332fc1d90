{{ config(meta={'key': ['room_id']}) }}
-- depends_on: {{ ref('stg_ledger') }}

with landed as (

    select * from {{ ref('stg_rooms') }} where dt <= {{ last_day() }} + 1

),

wanted as (

    select room_id from landed where dt between {{ first_day() }} and {{ last_day() }}

),

-- A platform may list a broadcast over midnight on both days: it is one room, of the day it started.
ranked as (

    select
        *,
        row_number() over (partition by room_id order by dt, started_at) as nth,
        -- Its end may be known on the next day only.
        max(ended_at) over (
            partition by room_id order by dt range between current row and interval 1 day following
        ) as last_ended_at
    from landed
    where room_id in (select room_id from wanted)

)

select
    dt,
    room_id,
    author_id,
    title,
    category,
    language,
    started_at,
    last_ended_at as ended_at
from ranked
where nth = 1 and dt between {{ first_day() }} and {{ last_day() }}
