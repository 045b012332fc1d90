with source as (

    select * from {{ source('landing', 'impressions') }}

),

renamed as (

    select
        impression_id::bigint as impression_id,
        user_id::bigint as user_id,
        author_id::bigint as author_id,
        room_id::bigint as room_id,
        shown_at::timestamp as shown_at,
        position::integer as position,
        surface::varchar as surface,
        request_id::varchar as request_id,
        score::double as score,
        model_version::varchar as model_version,
        dt::date as dt
    from source

)

select * from renamed
