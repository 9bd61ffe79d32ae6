# What the steps after an apply need: repositories, tasks and load balancers.
output "repositories" {
  description = "Repositories of the images orchestration and api."
  value       = { for name, repository in module.images.repositories : name => repository.url }
}

output "push_role_arn" {
  description = "AWS_PUSH_ROLE_ARN of the release workflow, if github names its repository."
  value       = module.images.push_role_arn
}

output "cluster_name" {
  description = "The ECS cluster."
  value       = aws_ecs_cluster.this.name
}

output "service_names" {
  description = "The services of the cluster."
  value       = concat(values(module.orchestration.service_names), [module.api.service_name])
}

output "migrate_task_definition_arn" {
  description = "Task to run once per version and per rotation of passwords."
  value       = module.orchestration.migrate_definition_arn
}

output "run_task_definition_arn" {
  description = "Task that Dagster starts for each run."
  value       = module.orchestration.run_definition_arn
}

output "ops_task_definition_arn" {
  description = "Task that `tunnel` forwards ports through."
  value       = module.orchestration.ops_definition_arn
}

output "ops_security_group_id" {
  description = "Security group of that task, which may reach the database and the UI."
  value       = module.network.ops_security_group_id
}

output "vpc_id" {
  description = "The VPC, for a peering or a VPN."
  value       = module.network.vpc_id
}

output "private_route_table_ids" {
  description = "Route tables for the routes of a peering or a VPN."
  value       = module.network.private_route_table_ids
}

output "private_subnet_ids" {
  description = "Subnets of the tasks."
  value       = module.network.private_subnet_ids
}

output "task_security_group_id" {
  description = "Security group of Dagster's tasks and the migrate task."
  value       = module.network.orchestration_security_group_id
}

output "api_load_balancer" {
  description = "Alias target for the API's public name."
  value       = module.api_balancer.dns_name
}

output "ui_load_balancer" {
  description = "Alias target for ui_domain_name, in a zone that the VPN's resolver uses."
  value       = module.ui_balancer.dns_name
}

output "landing_bucket" {
  description = "Bucket that companies deliver to."
  value       = module.storage.landing.name
}

output "archive_bucket" {
  description = "Bucket of exports of the raw tables."
  value       = module.storage.archive.name
}

output "database_host" {
  description = "Host of the database, inside the VPC."
  value       = module.database.address.host
}

output "database_port" {
  description = "Port of the database."
  value       = module.database.address.port
}

output "database_cluster_arn" {
  description = "ARN of the database, for `aws rds-data execute-statement`."
  value       = module.database.cluster_arn
}

output "database_reader_host" {
  description = "Read-only endpoint of the database."
  value       = module.database.reader_host
}

output "administrator_secret_arn" {
  description = "Secret of the database's administrator."
  value       = module.database.administrator_secret_arn
}

output "secret_arns" {
  description = "Secrets by environment variable; API_KEYS and ALERT_WEBHOOK_URL are filled in manually."
  value       = module.secrets.arns
}

output "log_groups" {
  description = "Log groups by task."
  value       = merge(module.orchestration.log_groups, { api = module.api.log_group })
}

output "alarm_topic_arn" {
  description = "Topic of the alarms."
  value       = module.observability.topic_arn
}

output "dashboard_name" {
  description = "Dashboard in CloudWatch."
  value       = module.observability.dashboard_name
}

output "fargate_vcpus" {
  description = "Maximum vCPUs that tasks use at the same time: the API at its maximum, both webservers of a rollout, migrate, ops and four runs. The account's quota of Fargate on-demand vCPUs must be at least as high."
  value = ceil((
    var.api_tasks.max * var.task_sizes.api.cpu + 2 * var.task_sizes.webserver.cpu + var.task_sizes.daemon.cpu +
    var.task_sizes.code.cpu + 4 * var.task_sizes.run.cpu + 512 + 256
  ) / 1024)
}
