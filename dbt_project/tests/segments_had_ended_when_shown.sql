-- The segment of an impression exists, is of the same room, and had ended when the room was shown.
select interactions.impression_id, interactions.shown_at, interactions.segment_id, segments.ended_at
from {{ ref('interactions') }} as interactions
left join {{ ref('segments') }} as segments
    on
        interactions.segment_id = segments.segment_id
        and segments.dt between {{ first_recomputed_day() }} - 1 and {{ last_recomputed_day() }}
where
    interactions.dt between {{ first_recomputed_day() }} and {{ last_recomputed_day() }}
    and interactions.segment_id is not null
    and (
        segments.segment_id is null
        or segments.room_id <> interactions.room_id
        or segments.ended_at > interactions.shown_at
        or interactions.segment_age_seconds < 0
    )
