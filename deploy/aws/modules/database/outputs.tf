output "address" {
  description = "Where to connect: the instance that writes."
  value       = { host = aws_rds_cluster.this.endpoint, port = local.port, database = local.database }
}

output "reader_host" {
  description = "Instances that only read; with one instance it is the one that writes."
  value       = aws_rds_cluster.this.reader_endpoint
}

output "administrator_secret_arn" {
  description = "Secret with username and password of the administrator."
  value       = aws_rds_cluster.this.master_user_secret[0].secret_arn
}

output "cluster_identifier" {
  description = "The cluster's name in metrics."
  value       = aws_rds_cluster.this.cluster_identifier
}

output "cluster_arn" {
  description = "The cluster, as `aws rds-data` takes it."
  value       = aws_rds_cluster.this.arn
}
