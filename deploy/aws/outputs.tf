# What the steps after an apply need: where to push, what to run, which names to point where.
output "repositories" {
  description = "Where to push the images orchestration and api."
  value       = { for name, repository in module.images.repositories : name => repository.url }
}

output "push_role_arn" {
  description = "AWS_PUSH_ROLE_ARN of the release workflow, where github names its repository."
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
  description = "Task to run once for each version and for each rotation of passwords."
  value       = module.orchestration.migrate_definition_arn
}

output "run_task_definition_arn" {
  description = "Task that Dagster starts for each run."
  value       = module.orchestration.run_definition_arn
}

output "vpc_id" {
  description = "The VPC, for a peering or a VPN."
  value       = module.network.vpc_id
}

output "private_route_table_ids" {
  description = "Route tables that a peering or a VPN adds its routes to."
  value       = module.network.private_route_table_ids
}

output "private_subnet_ids" {
  description = "Subnets of the tasks."
  value       = module.network.private_subnet_ids
}

output "task_security_group_id" {
  description = "Security group of Dagster's tasks, the migrate task's too."
  value       = module.network.orchestration_security_group_id
}

output "api_load_balancer" {
  description = "What the API's public name has to be an alias of."
  value       = module.api_balancer.dns_name
}

output "ui_load_balancer" {
  description = "What ui_domain_name has to be an alias of, in a zone that the VPN asks."
  value       = module.ui_balancer.dns_name
}

output "landing_bucket" {
  description = "Where companies deliver."
  value       = module.storage.landing.name
}

output "archive_bucket" {
  description = "Where exports of the raw tables are."
  value       = module.storage.archive.name
}

output "database_host" {
  description = "The database, from inside the VPC."
  value       = module.database.address.host
}

output "database_cluster_arn" {
  description = "The database, as `aws rds-data execute-statement` takes it."
  value       = module.database.cluster_arn
}

output "database_reader_host" {
  description = "Instances of the database that only read."
  value       = module.database.reader_host
}

output "administrator_secret_arn" {
  description = "Secret of the database's administrator."
  value       = module.database.administrator_secret_arn
}

output "secret_arns" {
  description = "Secrets by the environment variables that they are; API_KEYS and ALERT_WEBHOOK_URL are filled in by hand."
  value       = module.secrets.arns
}

output "log_groups" {
  description = "Log groups by task."
  value       = merge(module.orchestration.log_groups, { api = module.api.log_group })
}

output "alarm_topic_arn" {
  description = "What alarms write to."
  value       = module.observability.topic_arn
}

output "dashboard_name" {
  description = "Dashboard in CloudWatch."
  value       = module.observability.dashboard_name
}

output "fargate_vcpus" {
  description = "Most vCPUs that tasks take at once: the API at its most, both webservers of a roll-out, migrate and four runs. The account's quota of Fargate on-demand vCPUs has to be as much."
  value = ceil((
    var.api_tasks.max * var.task_sizes.api.cpu + 2 * var.task_sizes.webserver.cpu + var.task_sizes.daemon.cpu +
    var.task_sizes.code.cpu + 4 * var.task_sizes.run.cpu + 512
  ) / 1024)
}
