"""POST /employees: batches of hires into schema raw."""
