variable "prefix" {
  description = "What every name begins with."
  type        = string
}

variable "landing_writer_arns" {
  description = "Who puts encrypted objects into the landing bucket."
  type        = list(string)
}
