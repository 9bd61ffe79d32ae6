variable "prefix" {
  description = "Prefix of all names."
  type        = string
}

variable "key_arn" {
  description = "Key that encrypts the secrets."
  type        = string
}

variable "passwords_version" {
  description = "Incremented for new passwords."
  type        = number
}

variable "database" {
  description = "Host, port and name of the database."
  type        = object({ host = string, port = number, database = string })
}

variable "disposable" {
  description = "Whether it can be deleted together with its contents."
  type        = bool
}
