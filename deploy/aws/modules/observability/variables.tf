variable "prefix" {
  description = "Prefix of all names."
  type        = string
}

variable "emails" {
  description = "Recipients of notifications."
  type        = list(string)
}

variable "key_arn" {
  description = "Key that encrypts notifications."
  type        = string
}

variable "monthly_budget_usd" {
  description = "Monthly budget of the account."
  type        = number
}

variable "cluster" {
  description = "Name and ARN of the ECS cluster."
  type        = object({ name = string, arn = string })
}

variable "run_family" {
  description = "Task definition of runs."
  type        = string
}

variable "log_groups" {
  description = "Names of the log groups by task."
  type        = map(string)
}

variable "database_cluster" {
  description = "Identifier of the database in metrics."
  type        = string
}

variable "database_storage_alarm_gib" {
  description = "Storage in GiB above which there is an alarm."
  type        = number
}

variable "api_metric_names" {
  description = "Identifiers of the API's load balancer and target group in metrics."
  type        = object({ load_balancer = string, target_group = string })
}

variable "ui_metric_names" {
  description = "Identifiers of the UI's load balancer and target group in metrics."
  type        = object({ load_balancer = string, target_group = string })
}

variable "api_slow_seconds" {
  description = "99th percentile of the API's response time in seconds above which there is an alarm."
  type        = number
}

variable "https_endpoints" {
  description = "HTTPS endpoints that SNS posts to."
  type        = list(string)
}
