variable "prefix" {
  description = "Prefix of all names."
  type        = string
}

variable "key_arn" {
  description = "Key that encrypts the images."
  type        = string
}

variable "github" {
  description = "Repository whose release workflow may push, and GitHub's identity provider if the account already has it."
  type        = object({ repository = string, provider_arn = optional(string) })
}

variable "disposable" {
  description = "Whether it can be deleted together with its contents."
  type        = bool
}
