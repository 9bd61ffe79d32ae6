variable "prefix" {
  description = "What every name begins with."
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
  description = "Group of all tasks here."
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

variable "database" {
  description = "Where the database is."
  type        = object({ host = string, port = number, database = string })
}

variable "secret_arns" {
  description = "Secrets by the environment variables that they are."
  type        = map(string)
}

variable "administrator_secret_arn" {
  description = "Secret of the database's administrator, for the migrate task only."
  type        = string
}

variable "alert_webhook" {
  description = "Whether ALERT_WEBHOOK_URL is handed over."
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
  description = "What links to runs begin with."
  type        = string
}

variable "ui_target_group_arn" {
  description = "Target group of the UI's load balancer."
  type        = string
}

variable "key_arn" {
  description = "Key of all data at rest."
  type        = string
}

variable "log_retention_days" {
  description = "For how many days logs are kept."
  type        = number
}

variable "landing_key_arn" {
  description = "Key of a landing bucket that was there already, unless it has ours."
  type        = string
}
