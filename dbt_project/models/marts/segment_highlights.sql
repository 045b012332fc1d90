{{ config(meta={'key': ['room_id', 'window'], 'over_midnight': true}) }}

-- A room is judged as a whole, so on the day of its end; rooms of more than two days are not.
with ended_rooms as (

    select rooms.room_id, rooms.ended_at
    from {{ ref('rooms') }} as rooms
    cross join {{ ref('int_horizon') }} as horizon
    where
        rooms.dt between {{ first_day() }} - 1 and {{ last_day() }}
        and rooms.ended_at::date between {{ first_day() }} and {{ last_day() }}
        and rooms.ended_at < horizon.horizon_at
        and rooms.ended_at::date <= rooms.dt + 1

),

segments as (

    select * from {{ ref('segments') }} where dt between {{ first_day() }} - 1 and {{ last_day() }}

),

measured as (

    select
        segments.segment_id,
        segments.room_id,
        segments."window",
        coalesce(segments.retention, 0) as retention,
        (segments.n_likes + segments.n_comments + segments.n_gifts + segments.n_shares + segments.n_follows)
        / greatest(segments.n_viewers, 1) as engagement_density,
        ended_rooms.ended_at
    from segments
    inner join ended_rooms on segments.room_id = ended_rooms.room_id

),

ranges as (

    select
        room_id,
        min(retention) as least_retention,
        nullif(max(retention) - min(retention), 0) as retention_range,
        min(engagement_density) as least_density,
        nullif(max(engagement_density) - min(engagement_density), 0) as density_range
    from measured
    group by room_id

),

scored as (

    select
        measured.*,
        0.6 * coalesce((retention - least_retention) / retention_range, 0)
        + 0.4 * coalesce((engagement_density - least_density) / density_range, 0) as score
    from measured
    inner join ranges on measured.room_id = ranges.room_id

),

ranked as (

    select
        *,
        row_number() over (partition by room_id order by score desc, "window") as place,
        count(*) over (partition by room_id) as n_segments
    from scored

)

select
    segment_id,
    ended_at::date as dt,
    room_id,
    "window",
    retention,
    engagement_density,
    score,
    (place <= ceil(0.3 * n_segments))::tinyint as highlight,
    ended_at as highlight_known_at
from ranked
