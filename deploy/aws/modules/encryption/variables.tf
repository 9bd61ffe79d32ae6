variable "prefix" {
  description = "Prefix of all names."
  type        = string
}

variable "landing_writer_arns" {
  description = "ARNs of roles that put encrypted objects into the landing bucket."
  type        = list(string)
}
