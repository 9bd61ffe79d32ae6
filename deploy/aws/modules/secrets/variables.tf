variable "prefix" {
  description = "What every name begins with."
  type        = string
}

variable "key_arn" {
  description = "Key that encrypts the secrets."
  type        = string
}

variable "passwords_version" {
  description = "Raised by one for new passwords."
  type        = number
}

variable "database" {
  description = "Where the database is."
  type        = object({ host = string, port = number, database = string })
}

variable "disposable" {
  description = "Whether what is in it goes with it."
  type        = bool
}
