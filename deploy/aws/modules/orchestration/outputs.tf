output "migrate_definition_arn" {
  description = "Task definition of the migrate task."
  value       = module.migrate.definition_arn
}

output "run_definition_arn" {
  description = "Task definition of runs."
  value       = module.run.definition_arn
}

output "ops_definition_arn" {
  description = "Task definition of the task that ports are forwarded through."
  value       = module.ops.definition_arn
}

output "run_family" {
  description = "Task definition of runs without its revision."
  value       = module.run.family
}

output "log_groups" {
  description = "Names of the log groups by task."
  value = {
    run       = module.run.log_group.name
    migrate   = module.migrate.log_group.name
    ops       = module.ops.log_group.name
    code      = module.code.log_group.name
    daemon    = module.daemon.log_group.name
    webserver = module.webserver.log_group.name
  }
}

output "service_names" {
  description = "Names of the services."
  value       = { for name, service in aws_ecs_service.this : name => service.name }
}
