with plays as not materialized (

    select * from {{ ref('stg_plays') }}
    -- Sessions of the evening before may go on; an impression just before midnight may be entered after it.
    where
        dt between {{ first_day() }} - 1 and {{ last_day() }} + 1
        and entered_at >= {{ first_day() }} - {{ hours('session_cap_hours') }}
        and entered_at <= {{ last_day() }} + 1 + {{ seconds('click_window_seconds') }}

),

-- Only rooms of these sessions: a join with all rooms of all days would be most of the work.
rooms as (

    select room_id, started_at, ended_at
    from {{ ref('rooms') }}
    where room_id in (select room_id from plays)

),

capped as (

    select
        plays.play_id,
        plays.user_id,
        plays.room_id,
        plays.impression_id,
        plays.entered_at,
        plays.left_at,
        rooms.started_at as room_started_at,
        rooms.ended_at as room_ended_at,
        plays.entered_at + {{ hours('session_cap_hours') }} as capped_at,
        -- Nobody watches longer than the room goes on; null while the room does, or where its end is unknown.
        least(plays.left_at, rooms.ended_at) as ended_at,
        plays.dt
    from plays
    left join rooms on plays.room_id = rooms.room_id

),

sessions as (

    select
        play_id,
        user_id,
        room_id,
        impression_id,
        entered_at,
        -- Without an end of its own the session may have ended at any time before the room did.
        case when left_at is not null then greatest(entered_at, least(ended_at, capped_at)) end as left_at,
        greatest(entered_at, least(ended_at, capped_at)) as stayed_until,
        room_started_at,
        room_ended_at,
        dt
    from capped

)

select * from sessions
