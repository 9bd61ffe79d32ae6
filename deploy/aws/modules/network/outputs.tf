output "vpc_id" {
  description = "The VPC."
  value       = local.vpc_id
}

output "public_subnet_ids" {
  description = "Subnets for public load balancers."
  value       = var.existing == null ? aws_subnet.public[*].id : var.existing.public_subnet_ids
}

output "private_subnet_ids" {
  description = "Subnets for everything else."
  value       = var.existing == null ? aws_subnet.private[*].id : var.existing.private_subnet_ids
}

output "orchestration_security_group_id" {
  description = "Security group of Dagster's tasks."
  value       = aws_security_group.orchestration.id
}

output "api_security_group_id" {
  description = "Security group of the API's tasks."
  value       = aws_security_group.api.id
}

output "ops_security_group_id" {
  description = "Security group of the task ops."
  value       = aws_security_group.ops.id
}

output "private_route_table_ids" {
  description = "Route tables of the private subnets, for a peering or a VPN; none in an existing VPC."
  value       = aws_route_table.private[*].id
}
