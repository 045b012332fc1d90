{#- Days that landed before this table existed, and platforms without changes, may have no file of it at all. -#}
{%- set landed = landed_files('room_changes') -%}
with source as (

    {% if landed -%}
    select * from {{ source('landing', 'room_changes') }}
    {%- else -%}
    select null as room_id, null as changed_at, null as title, null as category, null as dt where false
    -- depends_on: {{ source('landing', 'room_changes') }}
    {%- endif %}

),

renamed as (

    select
        room_id::bigint as room_id,
        changed_at::timestamp as changed_at,
        title::varchar as title,
        category::varchar as category,
        dt::date as dt
    from source

)

select * from renamed
