{#-
  Who is present is not counted by laying every session out over its windows, but by changes: a session adds one viewer
  where it starts to cover windows that the viewer's earlier sessions of the room do not, and takes one away after its
  last. Running sums of the changes are the counts, and only windows of rooms are laid out, not those of sessions.

  Covered windows of a session: from the window of its entry to that of its last instant. Covered instants: the starts of
  windows at which the viewer is there. A viewer is retained over a window when both its start and its end are covered.
-#}
with sessions as (

    select
        play_id,
        user_id,
        room_id,
        greatest(entered_at, room_started_at) as present_from,
        stayed_until as present_until
    from {{ ref('int_sessions') }}
    where
        dt <= {{ last_day() }}
        and stayed_until >= room_started_at
        and entered_at < coalesce(room_ended_at, timestamp 'infinity')

),

bounds as (

    select
        {{ window_of(first_day() ~ '::timestamp') }} as first_window,
        -- Nothing is counted of a day that has not been landed.
        least({{ window_of('(' ~ last_day() ~ ' + 1)::timestamp') }}, {{ window_of('horizon_at') }}) - 1 as last_window
    from {{ ref('int_horizon') }}

),

covering as (

    select
        play_id,
        user_id,
        room_id,
        present_from,
        {{ window_of('present_from') }} as first_window,
        {{ last_window_of('present_until', 'present_from') }} as last_window,
        (epoch_ms(present_from) + {{ window_ms() }} - 1) // {{ window_ms() }} as first_instant
    from sessions

),

in_bounds as (

    select covering.*, bounds.first_window as lowest
    from covering
    cross join bounds
    where covering.last_window >= bounds.first_window and covering.first_window <= bounds.last_window

),

coverage as (

    select
        room_id,
        first_window,
        last_window,
        first_instant,
        lowest,
        coalesce(max(last_window) over earlier, -2) as windows_covered_to,
        coalesce(max(last_window) filter (first_instant <= last_window) over earlier, -2) as instants_covered_to
    from in_bounds
    window earlier as (
        partition by room_id, user_id
        order by present_from, play_id
        rows between unbounded preceding and 1 preceding
    )

),

sessions_with_news as (

    select
        *,
        last_window > windows_covered_to as has_new_windows,
        first_instant <= last_window and last_window > instants_covered_to as has_new_instants,
        -- Most sessions touch none that the viewer had before in the room.
        first_window > windows_covered_to as all_windows_are_new,
        first_instant > instants_covered_to + 1 as all_instants_are_new
    from coverage

),

changes as (

    select
        room_id,
        greatest(first_window, lowest) as "window",
        all_windows_are_new::integer as viewers,
        0 as at_start,
        0 as retained,
        (first_window >= lowest)::integer as entered,
        0 as "left"
    from sessions_with_news
    union all
    select room_id, greatest(first_instant, lowest), 0, 1, 1, 0, 0
    from sessions_with_news
    where has_new_instants and all_instants_are_new
    union all
    select room_id, last_window, 0, 0, -has_new_instants::integer, 0, 1
    from sessions_with_news
    union all
    select room_id, last_window + 1, -has_new_windows::integer, -has_new_instants::integer, 0, 0, 0
    from sessions_with_news
    where has_new_windows or has_new_instants
    union all
    select room_id, greatest(windows_covered_to + 1, lowest), 1, 0, 0, 0, 0
    from sessions_with_news
    where has_new_windows and not all_windows_are_new
    union all
    select room_id, greatest(instants_covered_to + 1, lowest), 0, 1, 0, 0, 0
    from sessions_with_news
    where has_new_instants and not all_instants_are_new
    union all
    -- Where the new instants follow on covered ones, the window between them is retained too.
    select room_id, greatest(instants_covered_to, lowest), 0, 0, 1, 0, 0
    from sessions_with_news
    where has_new_instants and not all_instants_are_new

),

by_window as (

    select
        room_id,
        "window",
        sum(viewers)::integer as viewers,
        sum(at_start)::integer as at_start,
        sum(retained)::integer as retained,
        sum(entered)::integer as entered,
        sum("left")::integer as "left"
    from changes
    where "window" <= (select last_window from bounds)
    group by all

),

running as (

    select
        room_id,
        "window",
        sum(viewers) over up_to_now as n_viewers,
        sum(at_start) over up_to_now as n_at_start,
        sum(retained) over up_to_now as n_retained,
        entered,
        "left",
        coalesce(
            lead("window") over (partition by room_id order by "window"), (select last_window from bounds) + 1
        ) as next_window
    from by_window
    window up_to_now as (partition by room_id order by "window" rows between unbounded preceding and current row)

),

laid_out as (

    select
        room_id,
        unnest(generate_series("window", next_window - 1)) as "window",
        "window" as changed_window,
        n_viewers,
        n_at_start,
        n_retained,
        entered,
        "left"
    from running
    where n_viewers > 0

)

select
    room_id::bigint as room_id,
    "window"::bigint as "window",
    n_viewers::integer as n_viewers,
    n_at_start::integer as n_at_start,
    n_retained::integer as n_retained,
    (case when "window" = changed_window then entered else 0 end)::integer as n_entered,
    (case when "window" = changed_window then "left" else 0 end)::integer as n_left
from laid_out
