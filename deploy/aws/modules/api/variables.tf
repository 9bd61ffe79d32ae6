variable "prefix" {
  description = "Prefix of all names."
  type        = string
}

variable "cluster" {
  description = "Name and ARN of the ECS cluster."
  type        = object({ name = string, arn = string })
}

variable "subnet_ids" {
  description = "Private subnets."
  type        = list(string)
}

variable "security_group_id" {
  description = "Security group of the tasks."
  type        = string
}

variable "image" {
  description = "The image api with its tag, and its repository."
  type        = object({ uri = string, repository_arn = string })
}

variable "cpu_architecture" {
  description = "X86_64 or ARM64."
  type        = string
}

variable "size" {
  description = "Size of a task."
  type        = object({ cpu = number, memory = number })
}

variable "tasks" {
  description = "Minimum and maximum number of tasks."
  type        = object({ min = number, max = number })
}

variable "requests_per_task" {
  description = "Requests per minute and task above which another task is started."
  type        = number
}

variable "open_reads" {
  description = "Whether the metrics can be read without a key."
  type        = bool
}

variable "port" {
  description = "Port of the tasks."
  type        = number
}

variable "postgres" {
  description = "libpq's variables: where the database is, and how its certificate is verified."
  type        = map(string)
}

variable "secret_arns" {
  description = "ARNs of secrets by environment variable."
  type        = map(string)
}

variable "target_group_arn" {
  description = "Target group of the load balancer."
  type        = string
}

variable "metric_names" {
  description = "Identifiers of load balancer and target group in metrics."
  type        = object({ load_balancer = string, target_group = string })
}

variable "key_arn" {
  description = "KMS key of all data at rest."
  type        = string
}

variable "log_retention_days" {
  description = "Days for which the log is kept."
  type        = number
}

variable "proxy_cidr" {
  description = "CIDR block of the load balancer's addresses."
  type        = string
}
