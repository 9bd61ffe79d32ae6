variable "prefix" {
  description = "What every name begins with."
  type        = string
}

variable "key_arn" {
  description = "Key that encrypts the images."
  type        = string
}

variable "github" {
  description = "The repository whose release workflow may push, and GitHub's identity provider where the account has it already."
  type        = object({ repository = string, provider_arn = optional(string) })
}

variable "disposable" {
  description = "Whether what is in it goes with it."
  type        = bool
}
