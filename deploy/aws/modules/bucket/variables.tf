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
  description = "Whether AWS writes logs into it: load balancers can do so with S3's own key only, and its requests are not logged."
  type        = bool
  default     = false
}

variable "expire_days" {
  description = "Objects are deleted after so many days; null keeps them."
  type        = number
  default     = null
}

variable "infrequent_access_days" {
  description = "Objects move to cheaper storage after so many days; null leaves them."
  type        = number
  default     = null
}

variable "noncurrent_days" {
  description = "Overwritten and deleted objects are gone after so many days."
  type        = number
}

variable "access_log_bucket" {
  description = "Bucket that is told of every request; not for a bucket of logs."
  type        = string
  default     = null
}

variable "policies" {
  description = "Further statements of its policy, as JSON documents by a name of their own."
  type        = map(string)
  default     = {}
}

variable "disposable" {
  description = "Whether what is in it goes with it."
  type        = bool
}
