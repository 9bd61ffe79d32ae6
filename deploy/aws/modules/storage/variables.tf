variable "prefix" {
  description = "What every name begins with."
  type        = string
}

variable "key_arn" {
  description = "Key that encrypts objects."
  type        = string
}

variable "landing_writer_arns" {
  description = "Who may put objects into the landing bucket."
  type        = list(string)
}

variable "landing_noncurrent_days" {
  description = "For how many days an overwritten or deleted object of the landing bucket can be brought back."
  type        = number
}

variable "archive_days" {
  description = "For how many days exports are kept."
  type        = number
}

variable "log_retention_days" {
  description = "For how many days access logs are kept."
  type        = number
}

variable "disposable" {
  description = "Whether what is in it goes with it."
  type        = bool
}

variable "landing_bucket" {
  description = "Name of a bucket that is there already, to which companies deliver; null for one of our own."
  type        = string
}
