variable "name" {
  description = "Name of the bucket, unique in all of AWS."
  type        = string
}

variable "key_arn" {
  description = "Key that encrypts its objects; not for a bucket of logs."
  type        = string
  default     = null
}

variable "for_logs" {
  description = "Whether it is a bucket for AWS's logs: load balancers can only use S3's own key, and requests to it are not logged."
  type        = bool
  default     = false
}

variable "expire_days" {
  description = "Days after which objects are deleted; null keeps them."
  type        = number
  default     = null
}

variable "infrequent_access_days" {
  description = "Days after which objects move to cheaper storage; null leaves them."
  type        = number
  default     = null
}

variable "noncurrent_days" {
  description = "Days after which overwritten and deleted objects are removed."
  type        = number
}

variable "access_log_bucket" {
  description = "Bucket of access logs; not for a bucket of logs."
  type        = string
  default     = null
}

variable "policies" {
  description = "Further policy statements, as JSON documents by name."
  type        = map(string)
  default     = {}
}

variable "disposable" {
  description = "Whether it can be deleted together with its contents."
  type        = bool
}
