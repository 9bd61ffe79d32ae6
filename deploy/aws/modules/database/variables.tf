variable "prefix" {
  description = "What every name begins with."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in two zones or more."
  type        = list(string)
}

variable "client_security_groups" {
  description = "Groups of the tasks that may connect, by name."
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
  description = "Least and most capacity units of an instance."
  type        = object({ min = number, max = number })
}

variable "instances" {
  description = "How many instances, each in a zone of its own as far as there are."
  type        = number
}

variable "backup_days" {
  description = "For how many days backups are kept."
  type        = number
}

variable "log_retention_days" {
  description = "For how many days Postgres' log is kept."
  type        = number
}

variable "disposable" {
  description = "Whether it can be deleted, without a last snapshot."
  type        = bool
}
