variable "prefix" {
  description = "What every name begins with."
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
  description = "Group of its tasks."
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
  description = "Least and most tasks."
  type        = object({ min = number, max = number })
}

variable "requests_per_task" {
  description = "Requests a minute to each task from which on another is started."
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

variable "database" {
  description = "Where the database is."
  type        = object({ host = string, port = number, database = string })
}

variable "secret_arns" {
  description = "Secrets by the environment variables that they are."
  type        = map(string)
}

variable "target_group_arn" {
  description = "Target group of its load balancer."
  type        = string
}

variable "metric_names" {
  description = "What metrics know its load balancer and targets by."
  type        = object({ load_balancer = string, target_group = string })
}

variable "key_arn" {
  description = "Key of all data at rest."
  type        = string
}

variable "log_retention_days" {
  description = "For how many days its log is kept."
  type        = number
}

variable "proxy_cidr" {
  description = "Addresses that the load balancer may have."
  type        = string
}
