output "arns" {
  description = "ARNs of the secrets by environment variable."
  value = merge(
    { for name, secret in aws_secretsmanager_secret.password : upper(name) => secret.arn },
    { for name, secret in aws_secretsmanager_secret.filled_in : upper(name) => secret.arn },
    { DAGSTER_PG_URL = aws_secretsmanager_secret.dagster_pg_url.arn },
  )
}
