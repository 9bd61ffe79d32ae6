variable "prefix" {
  description = "Prefix of all names."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in two or more zones."
  type        = list(string)
}

variable "client_security_groups" {
  description = "Security groups of the tasks that may connect, by name."
  type        = map(string)
}

variable "key_arn" {
  description = "Key that encrypts data, backups and the administrator's secret."
  type        = string
}

variable "engine_version" {
  description = "Version of Aurora PostgreSQL 17."
  type        = string
}

variable "capacity" {
  description = "Minimum and maximum capacity units of an instance."
  type        = object({ min = number, max = number })
}

variable "instances" {
  description = "Number of instances, spread over the zones."
  type        = number
}

variable "backup_days" {
  description = "Days for which backups are kept."
  type        = number
}

variable "log_retention_days" {
  description = "Days for which Postgres's log is kept."
  type        = number
}

variable "disposable" {
  description = "Whether it can be deleted, without a final snapshot."
  type        = bool
}
