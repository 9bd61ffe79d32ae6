variable "prefix" {
  description = "Prefix of all names."
  type        = string
}

variable "name" {
  description = "Name of the service."
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
  description = "Subnets: public ones, or private ones for an internal load balancer."
  type        = list(string)
}

variable "allowed_cidrs" {
  description = "Networks that may reach it."
  type        = list(string)
}

variable "target_security_group_id" {
  description = "Security group of the tasks, to which a rule for the load balancer is added."
  type        = string
}

variable "port" {
  description = "Port of the tasks."
  type        = number
}

variable "health_path" {
  description = "Path that answers 200 if a task is healthy."
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
  description = "OpenID Connect provider of the login; null for no login."
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
  description = "Client secret of the login."
  type        = string
  default     = null
  sensitive   = true
}

variable "requests_per_address" {
  description = "Requests from one address in five minutes above which they are refused; null for no limit and no WAF."
  type        = number
  default     = null
}

variable "dns" {
  description = "Hosted zone and name of a record for it; null for none."
  type        = object({ zone_id = string, name = string })
  default     = null
}

variable "disposable" {
  description = "Whether it can be deleted."
  type        = bool
}
