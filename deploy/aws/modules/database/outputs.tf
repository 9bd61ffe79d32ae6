output "address" {
  description = "Endpoint of the writer."
  value       = { host = aws_rds_cluster.this.endpoint, port = local.port, database = local.database }
}

output "reader_host" {
  description = "Read-only endpoint; with a single instance that is the writer."
  value       = aws_rds_cluster.this.reader_endpoint
}

output "administrator_secret_arn" {
  description = "Secret with the administrator's username and password."
  value       = aws_rds_cluster.this.master_user_secret[0].secret_arn
}

output "cluster_identifier" {
  description = "Identifier of the cluster in metrics."
  value       = aws_rds_cluster.this.cluster_identifier
}

output "cluster_arn" {
  description = "ARN of the cluster, for `aws rds-data`."
  value       = aws_rds_cluster.this.arn
}
