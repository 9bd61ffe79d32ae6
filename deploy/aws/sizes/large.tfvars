# Millions of records per day: about 1,620 USD per month when idle.
availability_zones   = ["us-east-1a", "us-east-1b", "us-east-1c"]
nat_gateway_per_zone = true
interface_endpoints  = true
database_capacity    = { min = 4, max = 64 }
# A writer and a standby: nothing reads from a reader.
database_instances         = 2
database_backup_days       = 35
database_storage_alarm_gib = 500
api_tasks                  = { min = 3, max = 24 }
api_requests_per_task      = 24000
container_insights         = "enhanced"
monthly_budget_usd         = 3000

task_sizes = {
  api       = { cpu = 1024, memory = 2048 }
  webserver = { cpu = 1024, memory = 4096 }
  daemon    = { cpu = 1024, memory = 2048 }
  code      = { cpu = 2048, memory = 4096 }
  run       = { cpu = 4096, memory = 8192 }
}
