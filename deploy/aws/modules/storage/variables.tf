variable "prefix" {
  description = "Prefix of all names."
  type        = string
}

variable "key_arn" {
  description = "Key that encrypts objects."
  type        = string
}

variable "landing_writer_arns" {
  description = "ARNs of roles that may put objects into the landing bucket."
  type        = list(string)
}

variable "landing_noncurrent_days" {
  description = "Days for which an overwritten or deleted object of the landing bucket can be recovered."
  type        = number
}

variable "archive_days" {
  description = "Days for which exports are kept."
  type        = number
}

variable "log_retention_days" {
  description = "Days for which access logs are kept."
  type        = number
}

variable "disposable" {
  description = "Whether it can be deleted together with its contents."
  type        = bool
}

variable "landing_bucket" {
  description = "Name of an existing bucket that companies deliver to; null creates one."
  type        = string
}
