-- With an index by which quarterly_hires counts.
{{ checked(
    'hired_employees',
    indexes=[
        "(department_id, job_id, hired_year, hired_quarter, hired_month)"
        ~ " where disposition = 'accepted'",
    ],
) }}
