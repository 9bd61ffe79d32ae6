output "repositories" {
  description = "URL and ARN of each image's repository."
  value       = { for name, each in aws_ecr_repository.this : name => { url = each.repository_url, arn = each.arn } }
}

output "push_role_arn" {
  description = "Role of the release workflow; null without a repository."
  value       = one(values(aws_iam_role.push)[*].arn)
}
