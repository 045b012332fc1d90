{{ config(meta={'key': ['user_id'], 'reach': 'later'}) }}

{{ counts_before_day('user', ref('int_user_days'), first_day(), last_day()) }}
