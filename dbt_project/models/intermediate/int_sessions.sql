{{ config(materialized='view') }}

with plays as (

    select * from {{ ref('stg_plays') }}
    -- A day before: sessions over midnight. A day after: an impression just before midnight may be entered after it.
    where dt between {{ first_day() }} - 1 and {{ last_day() }} + 1

),

rooms as (

    select * from {{ ref('rooms') }}

),

capped as (

    select
        plays.play_id,
        plays.user_id,
        plays.room_id,
        plays.impression_id,
        plays.entered_at,
        rooms.started_at as room_started_at,
        rooms.ended_at as room_ended_at,
        plays.entered_at + {{ hours('session_cap_hours') }} as capped_at,
        -- Nobody watches longer than the room goes on; null while nobody can tell.
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
        case when ended_at is not null then greatest(entered_at, least(ended_at, capped_at)) end as left_at,
        greatest(entered_at, least(ended_at, capped_at)) as stayed_until,
        room_started_at,
        room_ended_at,
        dt
    from capped

)

select * from sessions
