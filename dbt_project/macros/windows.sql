{#- The wall-clock grid: window w covers [w * window_seconds, (w + 1) * window_seconds) since 1970. -#}

{% macro window_ms() -%} {{ var('window_seconds') * 1000 }} {%- endmacro %}

{% macro window_of(timestamp) -%} (epoch_ms({{ timestamp }}) // {{ window_ms() }}) {%- endmacro %}

{#- Window of the last instant before `timestamp`, but not before that of `since`: where something that ended then ended. -#}
{% macro last_window_of(timestamp, since) -%}
    (greatest(epoch_ms({{ timestamp }}) - 1, epoch_ms({{ since }})) // {{ window_ms() }})
{%- endmacro %}

{% macro window_start(window) -%} make_timestamp({{ window }} * {{ window_ms() }} * 1000) {%- endmacro %}

{#- First 15 hex digits of md5('<room_id>:<window>'), the same as livealign.ids.segment_id. -#}
{% macro segment_id(room_id, window) -%}
    ('0x' || left(md5({{ room_id }} || ':' || {{ window }}), 15))::bigint
{%- endmacro %}

{#- A number of seconds as an interval. -#}
{% macro seconds(name) -%} interval '{{ var(name) }} seconds' {%- endmacro %}

{% macro hours(name) -%}
    {%- if var('session_cap_hours') > 20 or var('segment_age_cap_hours') > 20 -%}
        {{ exceptions.raise_compiler_error(
            "session_cap_hours and segment_age_cap_hours are at most 20: a day's labels must be final one day later"
        ) }}
    {%- endif -%}
    interval '{{ var(name) }} hours'
{%- endmacro %}
