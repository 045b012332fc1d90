with source as (

    select * from {{ source('landing', 'authors') }}

),

renamed as (

    select
        author_id::bigint as author_id,
        observed_at::timestamp as observed_at,
        gender::varchar as gender,
        age_band::varchar as age_band,
        country::varchar as country,
        followers_band::varchar as followers_band,
        dt::date as dt
    from source

)

select * from renamed
