with source as (

    select * from {{ source('landing', 'content_vectors') }}

),

renamed as (

    select
        room_id::bigint as room_id,
        ended_at::timestamp as ended_at,
        "vector"::float[] as content_vector,
        "source"::varchar as vector_source,
        dt::date as dt
    from source

)

select * from renamed
