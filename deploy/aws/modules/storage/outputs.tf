output "landing" {
  description = "Name and ARN of the landing bucket."
  value       = { name = try(module.landing[0].name, local.landing), arn = "arn:aws:s3:::${local.landing}" }
}

output "archive" {
  description = "Name and ARN of the archive bucket."
  value       = { name = module.archive.name, arn = module.archive.arn }
}

output "log_bucket" {
  description = "Name of the bucket of load balancers' logs."
  value       = module.logs.name
}
