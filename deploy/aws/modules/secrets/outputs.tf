output "arns" {
  description = "The secrets' ARNs by the environment variables that they are."
  value = merge(
    { for name, secret in aws_secretsmanager_secret.password : upper(name) => secret.arn },
    { for name, secret in aws_secretsmanager_secret.filled_in : upper(name) => secret.arn },
    { DAGSTER_PG_URL = aws_secretsmanager_secret.dagster_pg_url.arn },
  )
}
