-- A history holds what was known strictly before the impression, newest first, in three lists of one length.
select impression_id, shown_at, history_engaged_at
from {{ ref('user_histories') }}
where
    dt between {{ first_day() }} and {{ last_day() }}
    and (
        list_max(history_engaged_at) >= shown_at
        or history_engaged_at <> list_reverse_sort(history_engaged_at)
        or len(history_engaged_at) <> len(history_author_ids)
        or len(history_engaged_at) <> len(history_segment_ids)
        or len(history_engaged_at) > {{ var('history_length') }}
    )
