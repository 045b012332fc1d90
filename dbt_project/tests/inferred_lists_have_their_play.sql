-- A list that was inferred from a watch session has it: without the session its click would be learned as a skip.
-- Just before a midnight after which nothing is landed the session may have begun behind it.
with lists as (

    select request_id, min(impression_id) as impression_id, max(shown_at) as shown_at, max(dt) as dt
    from {{ ref('stg_impressions') }}
    where surface = 'inferred' and dt between {{ first_recomputed_day() }} and {{ last_recomputed_day() }}
    group by request_id

),

impressions as (

    select request_id, impression_id
    from {{ ref('stg_impressions') }}
    where surface = 'inferred' and dt between {{ first_recomputed_day() }} - 1 and {{ last_recomputed_day() }} + 1

),

played as (

    select distinct impressions.request_id
    from impressions
    inner join {{ ref('stg_plays') }} as plays
        on
            impressions.impression_id = plays.impression_id
            and plays.dt between {{ first_recomputed_day() }} - 1 and {{ last_recomputed_day() }} + 1

),

landed as (

    select distinct dt from {{ ref('stg_ledger') }}

)

select lists.*
from lists
anti join played on lists.request_id = played.request_id
where
    lists.shown_at + {{ seconds('click_window_seconds') }} < lists.dt + 1
    or lists.dt + 1 in (select dt from landed)
