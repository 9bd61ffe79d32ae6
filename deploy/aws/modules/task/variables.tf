variable "prefix" {
  description = "What every name begins with."
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
  description = "What the container runs."
  type        = list(string)
}

variable "environment" {
  description = "Variables that are no secret."
  type        = map(string)
}

variable "secrets" {
  description = "Variables that are: the ARN of a secret, or of a part of one (ARN:key::)."
  type        = map(string)
}

variable "ports" {
  description = "Ports that it listens on."
  type        = list(number)
  default     = []
}

variable "health_command" {
  description = "Ends with 0 when the container is well; none for tasks that come to an end."
  type        = list(string)
  default     = []
}

variable "stop_timeout" {
  description = "Seconds from SIGTERM to SIGKILL, 120 at most."
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
  description = "What the task may do in AWS, as JSON documents by name; nothing without any."
  type        = map(string)
  default     = {}
}

variable "key_arn" {
  description = "Key that encrypts secrets and log."
  type        = string
}

variable "log_retention_days" {
  description = "For how many days its log is kept."
  type        = number
}
