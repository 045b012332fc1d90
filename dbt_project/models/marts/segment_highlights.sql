with segments as (

    select * from {{ ref('segments') }} where dt between {{ first_day() }} - 1 and {{ last_day() }} + 1

),

-- A room is judged as a whole, so only after its end; rooms of more than two days are not.
ended_rooms as (

    select rooms.room_id, rooms.ended_at
    from {{ ref('rooms') }} as rooms
    cross join {{ ref('int_horizon') }} as horizon
    where
        rooms.ended_at < least(horizon.horizon_at, ({{ last_day() }} + 1)::timestamp)
        and rooms.ended_at::date <= rooms.started_at::date + 1

),

measured as (

    select
        segments.segment_id,
        segments.dt,
        segments.room_id,
        segments."window",
        coalesce(segments.retention, 0) as retention,
        (segments.n_likes + segments.n_comments + segments.n_gifts + segments.n_shares + segments.n_follows)
        / greatest(segments.n_viewers, 1) as engagement_density,
        ended_rooms.ended_at
    from segments
    inner join ended_rooms on segments.room_id = ended_rooms.room_id

),

scored as (

    select
        *,
        0.6 * coalesce(
            (retention - min(retention) over room) / nullif(max(retention) over room - min(retention) over room, 0), 0
        ) + 0.4 * coalesce(
            (engagement_density - min(engagement_density) over room)
            / nullif(max(engagement_density) over room - min(engagement_density) over room, 0),
            0
        ) as score
    from measured
    window room as (partition by room_id)

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
    dt,
    room_id,
    "window",
    retention,
    engagement_density,
    score,
    (place <= ceil(0.3 * n_segments))::tinyint as highlight,
    ended_at as highlight_known_at
from ranked
where dt between {{ first_day() }} and {{ last_day() }}
