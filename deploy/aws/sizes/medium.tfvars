# Some hundred thousand records per day, survives the loss of a zone: about 490 USD per month when idle.
availability_zones    = ["us-east-1a", "us-east-1b"]
nat_gateway_per_zone  = true
database_capacity     = { min = 1, max = 16 }
database_instances    = 2
api_tasks             = { min = 2, max = 8 }
api_requests_per_task = 12000
monthly_budget_usd    = 800

task_sizes = {
  api       = { cpu = 512, memory = 1024 }
  webserver = { cpu = 512, memory = 2048 }
  daemon    = { cpu = 512, memory = 1024 }
  code      = { cpu = 1024, memory = 2048 }
  run       = { cpu = 2048, memory = 4096 }
}
