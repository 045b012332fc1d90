with frames as (

    select * from {{ ref('stg_frames') }} where dt between {{ first_day() }} and {{ last_day() }}

)

-- The newest picture of a window counts.
select
    room_id,
    {{ window_of('taken_at') }} as "window",
    max(taken_at) as taken_at,
    max_by(frame_path, taken_at) as frame_path
from frames
where frame_path is not null
group by all
