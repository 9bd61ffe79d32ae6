-- A hire that a join lost, or that fell between two quarters, would be missing
-- from the metric without anything else looking wrong.
{{ config(meta={'dagster': {'ref': {'name': 'hires_by_quarter'}}}) }}

with

published as (

    select
        year,
        sum(q1 + q2 + q3 + q4) as hired
    from {{ ref('hires_by_quarter') }}
    group by year

),

qualifying as (

    select
        hired_year as year,
        count(*) as hired
    from {{ ref('hired_employees') }}
    group by hired_year

)

select
    year,
    published.hired as published,
    qualifying.hired as qualifying
from published
full join qualifying using (year)
where published.hired is distinct from qualifying.hired
