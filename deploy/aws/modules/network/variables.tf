variable "prefix" {
  description = "What every name begins with."
  type        = string
}

variable "cidr" {
  description = "Addresses of the VPC."
  type        = string
}

variable "availability_zones" {
  description = "Names of the zones to spread over."
  type        = list(string)
}

variable "nat_gateway_per_zone" {
  description = "A NAT gateway in each zone, or one in all."
  type        = bool
}

variable "interface_endpoints" {
  description = "Whether AWS' services are reached inside the VPC."
  type        = bool
}

variable "log_retention_days" {
  description = "For how long refused connections are kept in the log."
  type        = number
}

variable "key_arn" {
  description = "Key that encrypts the log."
  type        = string
}

variable "existing" {
  description = "A VPC that is there already, whose private subnets reach AWS; null for one of our own."
  type        = object({ vpc_id = string, public_subnet_ids = list(string), private_subnet_ids = list(string) })
}
