{{ config(meta={'key': ['author_id'], 'reach': 'later'}) }}

{{ counts_before_day('author', ref('int_author_days'), first_day(), last_day()) }}
