output "log_group" {
  description = "Name of the log group."
  value       = module.task.log_group.name
}

output "service_name" {
  description = "Name of the service."
  value       = aws_ecs_service.this.name
}
