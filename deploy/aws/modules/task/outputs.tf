output "definition_arn" {
  description = "The task definition with its revision, known once its roles have their permissions."
  value       = aws_ecs_task_definition.this.arn

  depends_on = [aws_iam_role_policy.task, aws_iam_role_policy.execution]
}

output "family" {
  description = "The task definition without its revision."
  value       = aws_ecs_task_definition.this.family
}

output "container" {
  description = "Name of the container."
  value       = var.name
}

output "role_arns" {
  description = "The two roles that the launcher has to pass."
  value       = [aws_iam_role.task.arn, aws_iam_role.execution.arn]
}

output "log_group" {
  description = "Name and ARN of the log group."
  value       = { name = aws_cloudwatch_log_group.this.name, arn = aws_cloudwatch_log_group.this.arn }
}
