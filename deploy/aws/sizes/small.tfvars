# Some thousand records per day, down while its zone is: about 220 USD per month when idle.
availability_zones      = ["us-east-1a", "us-east-1b"]
database_capacity       = { min = 0.5, max = 4 }
database_instances      = 1
api_tasks               = { min = 1, max = 3 }
container_insights      = "disabled"
log_retention_days      = 90
landing_noncurrent_days = 30
monthly_budget_usd      = 300
