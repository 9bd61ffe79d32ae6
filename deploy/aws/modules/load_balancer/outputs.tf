output "target_group_arn" {
  description = "Target group of the service, known once the load balancer listens."
  value       = aws_lb_target_group.this.arn

  depends_on = [aws_lb_listener.https]
}

output "dns_name" {
  description = "Alias target for its name."
  value       = aws_lb.this.dns_name
}

output "metric_names" {
  description = "Identifiers of load balancer and target group in metrics."
  value       = { load_balancer = aws_lb.this.arn_suffix, target_group = aws_lb_target_group.this.arn_suffix }
}
