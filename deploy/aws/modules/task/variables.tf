variable "prefix" {
  description = "Prefix of all names."
  type        = string
}

variable "name" {
  description = "Name of the task and of its only container."
  type        = string
}

variable "image" {
  description = "Image with its tag."
  type        = string
}

variable "repository_arn" {
  description = "Repository of the image."
  type        = string
}

variable "command" {
  description = "Command of the container."
  type        = list(string)
}

variable "environment" {
  description = "Environment variables that are not secret."
  type        = map(string)
}

variable "secrets" {
  description = "Secret environment variables: the ARN of a secret, or of a JSON key in it (ARN:key::)."
  type        = map(string)
}

variable "ports" {
  description = "Ports that it listens on."
  type        = list(number)
  default     = []
}

variable "health_command" {
  description = "Exits with 0 if the container is healthy; empty for one-off tasks."
  type        = list(string)
  default     = []
}

variable "stop_timeout" {
  description = "Seconds from SIGTERM to SIGKILL, at most 120."
  type        = number
  default     = 30
}

variable "size" {
  description = "CPU units and MiB of memory."
  type        = object({ cpu = number, memory = number })
}

variable "cpu_architecture" {
  description = "X86_64 or ARM64."
  type        = string
}

variable "policies" {
  description = "Permissions of the task in AWS, as JSON documents by name; none by default."
  type        = map(string)
  default     = {}
}

variable "ecs_exec" {
  description = "Whether ECS Exec may be used. Its agent runs as root in the container and writes to its root file system."
  type        = bool
  default     = false
}

variable "key_arn" {
  description = "Key that encrypts secrets and log."
  type        = string
}

variable "log_retention_days" {
  description = "Days for which the log is kept."
  type        = number
}
