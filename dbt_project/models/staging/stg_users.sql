with source as (

    select * from {{ source('landing', 'users') }}

),

renamed as (

    select
        user_id::bigint as user_id,
        observed_at::timestamp as observed_at,
        gender::varchar as gender,
        age_band::varchar as age_band,
        country::varchar as country,
        followers_band::varchar as followers_band,
        dt::date as dt
    from source

)

select * from renamed
