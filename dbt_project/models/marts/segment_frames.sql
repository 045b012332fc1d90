{{ config(meta={'key': ['room_id', 'window'], 'over_midnight': true}) }}

with frames as (

    select * from {{ ref('int_window_frames') }}

),

segments as (

    select segment_id, dt, room_id, "window"
    from {{ ref('segments') }}
    where dt between {{ first_day() }} and {{ last_day() }}

)

select
    segments.segment_id,
    segments.dt,
    segments.room_id,
    segments."window",
    frames.taken_at,
    frames.frame_path
from segments
inner join frames on segments.room_id = frames.room_id and segments."window" = frames."window"
