output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "public_subnet_ids" {
  description = "Subnets for public load balancers."
  value       = aws_subnet.public[*].id
}

output "private_subnet_ids" {
  description = "Subnets for everything else."
  value       = aws_subnet.private[*].id
}

output "orchestration_security_group_id" {
  description = "Group of Dagster's tasks."
  value       = aws_security_group.orchestration.id
}

output "api_security_group_id" {
  description = "Group of the API's tasks."
  value       = aws_security_group.api.id
}
