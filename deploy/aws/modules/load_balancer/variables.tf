variable "prefix" {
  description = "What every name begins with."
  type        = string
}

variable "name" {
  description = "What is behind it."
  type        = string
}

variable "internal" {
  description = "Whether it has private addresses only."
  type        = bool
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Its subnets: public ones, or private ones for an internal one."
  type        = list(string)
}

variable "allowed_cidrs" {
  description = "Who may reach it."
  type        = list(string)
}

variable "target_security_group_id" {
  description = "Group of the tasks behind it, which is opened for it."
  type        = string
}

variable "port" {
  description = "Port of the tasks."
  type        = number
}

variable "health_path" {
  description = "Answers 200 when a task is well."
  type        = string
}

variable "certificate_arn" {
  description = "ACM certificate of its name."
  type        = string
}

variable "log_bucket" {
  description = "Bucket of access logs."
  type        = string
}

variable "oidc" {
  description = "Whose login it asks for; null for none."
  type = object({
    issuer                 = string
    authorization_endpoint = string
    token_endpoint         = string
    user_info_endpoint     = string
    client_id              = string
  })
  default = null
}

variable "oidc_client_secret" {
  description = "Secret of the login's application."
  type        = string
  default     = null
  sensitive   = true
}

variable "requests_per_address" {
  description = "Requests of one address in five minutes above which it is refused; null for no such limit, and no WAF."
  type        = number
  default     = null
}

variable "dns" {
  description = "Hosted zone and name that lead here; null for none."
  type        = object({ zone_id = string, name = string })
  default     = null
}

variable "disposable" {
  description = "Whether it can be deleted."
  type        = bool
}
