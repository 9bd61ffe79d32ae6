{{ config(
    unique_key=['_load_id', '_record'],
    pre_hook="select raw.summarize_new_records('jobs')",
    meta={
        'feeds': ['loads'],
        'indexes': [
            '(id)',
            "(_load_id) where disposition = 'rejected'",
            '(_build) where _build > 1',
        ],
    },
) }}

{{ checked_names('jobs', 'job') }}
