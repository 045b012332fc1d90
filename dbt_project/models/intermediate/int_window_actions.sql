with likes as (

    select * from {{ ref('stg_likes') }} where dt between {{ first_day() }} and {{ last_day() }}

),

gifts as (

    select * from {{ ref('stg_gifts') }} where dt between {{ first_day() }} and {{ last_day() }}

),

shares as (

    select * from {{ ref('stg_shares') }} where dt between {{ first_day() }} and {{ last_day() }}

),

follows as (

    select * from {{ ref('stg_follows') }} where dt between {{ first_day() }} and {{ last_day() }}

),

actions as (

    select room_id, acted_at, n_likes, 0 as n_items, null as gift_value, 0 as shares, 0 as follows from likes
    union all
    -- Sums of decimals do not depend on the order, those of doubles do.
    select room_id, acted_at, 0, n_items, gift_value::decimal(38, 6), 0, 0 from gifts
    union all
    select room_id, acted_at, 0, 0, null, 1, 0 from shares
    union all
    select room_id, acted_at, 0, 0, null, 0, 1 from follows

)

select
    room_id,
    {{ window_of('acted_at') }} as "window",
    sum(n_likes)::bigint as n_likes,
    sum(n_items)::bigint as n_gifts,
    coalesce(sum(gift_value), 0)::double as gift_value,
    sum(shares)::integer as n_shares,
    sum(follows)::integer as n_follows
from actions
group by all
