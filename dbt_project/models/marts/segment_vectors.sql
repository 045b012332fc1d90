{{ config(meta={'key': ['room_id', 'window', 'vector_source'], 'over_midnight': true}) }}

with vectors as (

    select * from {{ ref('stg_content_vectors') }}
    -- The last window of a day ends at the midnight that a vector of the next day may end at too.
    where
        dt between {{ first_day() }} - 1 and {{ last_day() }} + 1
        and ended_at <= ({{ last_day() }} + 1)::timestamp

),

sources as (

    select distinct room_id, vector_source from vectors

),

segments as (

    select segment_id, dt, room_id, "window", ended_at
    from {{ ref('segments') }}
    where dt between {{ first_day() }} and {{ last_day() }}

),

described as (

    select segments.*, sources.vector_source
    from segments
    inner join sources on segments.room_id = sources.room_id

)

select
    described.segment_id,
    described.dt,
    described.room_id,
    described."window",
    described.vector_source,
    vectors.ended_at as vector_ended_at,
    vectors.content_vector
from described
asof join vectors
    on
        described.room_id = vectors.room_id
        and described.vector_source = vectors.vector_source
        and described.ended_at >= vectors.ended_at
