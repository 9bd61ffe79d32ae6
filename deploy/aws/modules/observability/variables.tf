variable "prefix" {
  description = "What every name begins with."
  type        = string
}

variable "emails" {
  description = "Who is told."
  type        = list(string)
}

variable "key_arn" {
  description = "Key that encrypts what is told."
  type        = string
}

variable "monthly_budget_usd" {
  description = "What the account may cost a month."
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
  description = "The database's name in metrics."
  type        = string
}

variable "database_storage_alarm_gib" {
  description = "More than this in the database is told."
  type        = number
}

variable "api_metric_names" {
  description = "What metrics know the API's load balancer and targets by."
  type        = object({ load_balancer = string, target_group = string })
}

variable "ui_metric_names" {
  description = "What metrics know the UI's load balancer and targets by."
  type        = object({ load_balancer = string, target_group = string })
}

variable "api_slow_seconds" {
  description = "A 99th percentile of the API's seconds to answer above this raises an alarm."
  type        = number
}

variable "https_endpoints" {
  description = "Addresses that take what SNS posts."
  type        = list(string)
}
