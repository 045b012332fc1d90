-- A session that names its impression is a click of it; without the impression the click is lost.
-- It may have been shown on a day that was not landed.
{{ config(severity='warn') }}
select plays.play_id, plays.impression_id, plays.dt
from {{ ref('stg_plays') }} as plays
anti join {{ ref('stg_impressions') }} as impressions on plays.impression_id = impressions.impression_id
where
    plays.impression_id is not null
    and plays.dt between {{ first_recomputed_day() }} and {{ last_recomputed_day() }}
    and plays.dt - 1 in (select dt from {{ ref('stg_ledger') }})
