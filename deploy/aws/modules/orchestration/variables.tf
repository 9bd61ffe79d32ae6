variable "prefix" {
  description = "Prefix of all names."
  type        = string
}

variable "cluster" {
  description = "Name and ARN of the ECS cluster."
  type        = object({ name = string, arn = string })
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets."
  type        = list(string)
}

variable "security_group_id" {
  description = "Security group of all tasks here."
  type        = string
}

variable "image" {
  description = "The image orchestration with its tag, and its repository."
  type        = object({ uri = string, repository_arn = string })
}

variable "cpu_architecture" {
  description = "X86_64 or ARM64."
  type        = string
}

variable "sizes" {
  description = "Sizes of webserver, daemon, code server and runs."
  type        = map(object({ cpu = number, memory = number }))
}

variable "postgres" {
  description = "libpq's variables: where the database is, and how its certificate is verified."
  type        = map(string)
}

variable "secret_arns" {
  description = "ARNs of secrets by environment variable."
  type        = map(string)
}

variable "administrator_secret_arn" {
  description = "Secret of the database's administrator, for the migrate task only."
  type        = string
}

variable "alert_webhook" {
  description = "Whether tasks get ALERT_WEBHOOK_URL."
  type        = bool
}

variable "landing" {
  description = "Name and ARN of the landing bucket."
  type        = object({ name = string, arn = string })
}

variable "archive" {
  description = "Name and ARN of the archive bucket."
  type        = object({ name = string, arn = string })
}

variable "ui_url" {
  description = "Base URL of links to runs."
  type        = string
}

variable "ui_target_group_arn" {
  description = "Target group of the UI's load balancer."
  type        = string
}

variable "key_arn" {
  description = "KMS key of all data at rest."
  type        = string
}

variable "log_retention_days" {
  description = "Days for which logs are kept."
  type        = number
}

variable "landing_key_arn" {
  description = "Key of an existing landing bucket, unless it is ours."
  type        = string
}
