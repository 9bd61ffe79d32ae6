variable "prefix" {
  description = "Prefix of all names."
  type        = string
}

variable "cidr" {
  description = "CIDR block of the VPC."
  type        = string
}

variable "availability_zones" {
  description = "Names of the availability zones."
  type        = list(string)
}

variable "nat_gateway_per_zone" {
  description = "Whether there is one NAT gateway per zone, or a single one."
  type        = bool
}

variable "interface_endpoints" {
  description = "Whether there are interface endpoints for AWS services."
  type        = bool
}

variable "log_retention_days" {
  description = "Days for which the log of refused connections is kept."
  type        = number
}

variable "key_arn" {
  description = "Key that encrypts the log."
  type        = string
}

variable "existing" {
  description = "An existing VPC whose private subnets can reach AWS; null creates one."
  type        = object({ vpc_id = string, public_subnet_ids = list(string), private_subnet_ids = list(string) })
}
