-- A vector describes what was over when its segment ended: nothing that came after it.
select vectors.segment_id, vectors.vector_ended_at, segments.ended_at
from {{ ref('segment_vectors') }} as vectors
left join {{ ref('segments') }} as segments
    on
        vectors.segment_id = segments.segment_id
        and segments.dt between {{ first_recomputed_day() }} and {{ last_recomputed_day() }}
where
    vectors.dt between {{ first_recomputed_day() }} and {{ last_recomputed_day() }}
    and (segments.segment_id is null or segments.room_id <> vectors.room_id or vectors.vector_ended_at > segments.ended_at)
