-- quarterly_hires adds up what changes here.
{{ checked('hired_employees', log_changes=true) }}
