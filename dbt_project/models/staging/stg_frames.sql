with source as (

    select * from {{ source('landing', 'frames') }}

),

renamed as (

    select
        room_id::bigint as room_id,
        "at"::timestamp as taken_at,
        "path"::varchar as frame_path,
        "bytes"::blob as frame_bytes,
        dt::date as dt
    from source

)

select * from renamed
