output "target_group_arn" {
  description = "Where the service puts its tasks, known once the load balancer listens."
  value       = aws_lb_target_group.this.arn

  depends_on = [aws_lb_listener.https]
}

output "dns_name" {
  description = "What its name has to be an alias of."
  value       = aws_lb.this.dns_name
}

output "metric_names" {
  description = "What metrics know load balancer and targets by."
  value       = { load_balancer = aws_lb.this.arn_suffix, target_group = aws_lb_target_group.this.arn_suffix }
}
