-- quarterly_hires sums up the changes of this model.
{{ checked('hired_employees', log_changes=true) }}
