# Settings for operators. The first five have no default; sizes/*.tfvars have values for three sizes.
variable "image_tag" {
  description = "Tag of both images in ECR, such as a commit hash. Tags are immutable, so a tag is a version."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", var.image_tag)) && var.image_tag != "latest"
    error_message = "image_tag must name one version (a commit hash, v1.2.3), not latest."
  }
}

variable "api_certificate_arn" {
  description = "ACM certificate of the API's public name, in the same region."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:acm:", var.api_certificate_arn))
    error_message = "api_certificate_arn must be the ARN of an ACM certificate."
  }
}

variable "ui_certificate_arn" {
  description = "ACM certificate of ui_domain_name, in the same region."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:acm:", var.ui_certificate_arn))
    error_message = "ui_certificate_arn must be the ARN of an ACM certificate."
  }
}

variable "ui_domain_name" {
  description = "Host name of the Dagster UI, such as dagster.example.com; links in alerts use it."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.ui_domain_name))
    error_message = "ui_domain_name must be a host name without a scheme, such as dagster.example.com."
  }
}

variable "alarm_emails" {
  description = "Recipients of alarms and budget notifications. Each address has to confirm a subscription."
  type        = list(string)

  validation {
    condition     = length(var.alarm_emails) > 0 && alltrue([for email in var.alarm_emails : can(regex("^\\S+@\\S+$", email))])
    error_message = "alarm_emails must contain at least one e-mail address."
  }
}

variable "alarm_https_endpoints" {
  description = "Endpoints of PagerDuty, Opsgenie and the like, which confirm SNS subscriptions automatically: unlike alert_webhook, alarms reach them without any of our tasks. The state contains them."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.alarm_https_endpoints : startswith(each, "https://")])
    error_message = "alarm_https_endpoints must begin with https://."
  }
}

variable "region" {
  description = "Region of all resources."
  type        = string
  default     = "us-east-1"
}

variable "name" {
  description = "Prefix of all names."
  type        = string
  default     = "hiring"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,11}$", var.name))
    error_message = "name must be 2 to 12 lower-case letters and digits."
  }
}

variable "environment" {
  description = "Name of this deployment among several; the second part of all names."
  type        = string
  default     = "prod"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,7}$", var.environment))
    error_message = "environment must be 2 to 8 lower-case letters and digits."
  }
}

variable "existing_vpc" {
  description = "An existing VPC with two or more public and private subnets in different zones, the private ones with access to AWS (a NAT gateway or endpoints). Without it one is created."
  type        = object({ vpc_id = string, cidr = string, public_subnet_ids = list(string), private_subnet_ids = list(string) })
  default     = null

  validation {
    condition     = var.existing_vpc == null ? true : min(length(var.existing_vpc.public_subnet_ids), length(var.existing_vpc.private_subnet_ids)) >= 2
    error_message = "existing_vpc needs two public and two private subnets."
  }
}

variable "existing_landing_bucket" {
  description = "An existing bucket of this account that companies deliver to, and the key that encrypts it, if any. Without it one is created."
  type        = object({ name = string, key_arn = optional(string) })
  default     = null
}

variable "hosted_zone_id" {
  description = "Route 53 hosted zone that gets records for ui_domain_name and api_domain_name. Without it both names have to be pointed at the load balancers manually."
  type        = string
  default     = null
}

variable "api_domain_name" {
  description = "The API's public name, for its record in hosted_zone_id."
  type        = string
  default     = null
}

variable "disposable" {
  description = "Whether `terraform destroy` deletes everything, including data and backups. If not, databases and load balancers are protected, buckets have to be empty, and a final snapshot is kept."
  type        = bool
  default     = false
}

variable "vpc_cidr" {
  description = "CIDR block of the VPC, a /16 to /20."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 20, false)
    error_message = "vpc_cidr must be a /16 to /20, such as 10.40.0.0/16."
  }
}

variable "availability_zones" {
  description = "Two or three availability zones by name: a list queried from AWS would shift when a zone is added."
  type        = list(string)
  default     = ["us-east-1a", "us-east-1b"]

  validation {
    condition     = contains([2, 3], length(distinct(var.availability_zones))) && alltrue([for zone in var.availability_zones : startswith(zone, var.region)])
    error_message = "availability_zones must be 2 or 3 different zones of the region, such as us-east-1a."
  }
}

variable "nat_gateway_per_zone" {
  description = "One NAT gateway per zone. With a single one, an outage of its zone cuts off runs and new tasks from AWS."
  type        = bool
  default     = false
}

variable "interface_endpoints" {
  description = "Interface endpoints for ECR, Secrets Manager, CloudWatch Logs and ECS, whose traffic then bypasses the NAT gateway: about 7 USD per month for each of the five in each zone."
  type        = bool
  default     = false
}

variable "database_engine_version" {
  description = "Major version of Aurora PostgreSQL. Minor versions are installed in the maintenance window; a minor version here would become a downgrade, which AWS refuses, after the next one."
  type        = string
  default     = "17"

  validation {
    condition     = can(regex("^17$", var.database_engine_version))
    error_message = "database_engine_version must be 17."
  }
}

variable "database_capacity" {
  description = "Minimum and maximum Aurora capacity units per instance (1 is about 2 GiB of memory). Sensors query it every second, so it never pauses: min is at least 0.5."
  type        = object({ min = number, max = number })
  default     = { min = 0.5, max = 4 }

  validation {
    condition     = var.database_capacity.min >= 0.5 && var.database_capacity.max >= var.database_capacity.min && var.database_capacity.max <= 256
    error_message = "database_capacity needs 0.5 <= min <= max <= 256."
  }
}

variable "database_instances" {
  description = "Number of instances: with two or more, another zone takes over within a minute."
  type        = number
  default     = 1

  validation {
    condition     = var.database_instances >= 1 && var.database_instances <= 3
    error_message = "database_instances must be 1 to 3."
  }
}

variable "database_backup_days" {
  description = "Days for which the cluster can be restored to any second."
  type        = number
  default     = 14

  validation {
    condition     = var.database_backup_days >= 7 && var.database_backup_days <= 35
    error_message = "database_backup_days must be 7 to 35."
  }
}

variable "database_storage_alarm_gib" {
  description = "Storage in GiB above which there is an alarm. Aurora's storage, and its cost, grow automatically."
  type        = number
  default     = 50
}

variable "database_verify_certificate" {
  description = "Whether tasks verify the database's certificate (verify-full) with the authorities in the images, which then need deploy/docker/certificates/global-bundle.pem: docs/deployment.md. If not, connections are encrypted, but any server is trusted (require)."
  type        = bool
  default     = true
}

variable "passwords_version" {
  description = "Increment it to give hiring_loader, hiring_transformer, hiring_restorer, hiring_api, hiring_reader and dagster new passwords. Then run the migrate task and restart the services: docs/deployment.md."
  type        = number
  default     = 1

  validation {
    condition     = var.passwords_version >= 1 && floor(var.passwords_version) == var.passwords_version
    error_message = "passwords_version must be a whole number from 1."
  }
}

variable "alert_webhook" {
  description = "Whether the pipeline gets the secret alert_webhook_url as ALERT_WEBHOOK_URL. Fill in the secret first."
  type        = bool
  default     = false
}

variable "landing_writer_arns" {
  description = "Roles, of this account or others, that may put objects into the landing bucket and do nothing else."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.landing_writer_arns : can(regex("^arn:aws[a-z-]*:iam::\\d{12}:(role|user)/", arn))])
    error_message = "landing_writer_arns must be ARNs of IAM roles or users: never * and never a whole account."
  }
}

variable "landing_noncurrent_days" {
  description = "Days for which an overwritten or deleted object of the landing bucket can be recovered."
  type        = number
  default     = 90
}

variable "archive_days" {
  description = "Days for which exports of the raw tables are kept."
  type        = number
  default     = 365

  validation {
    condition     = var.archive_days >= 31
    error_message = "archive_days must be at least 31: exports move to cheaper storage after 30 days."
  }
}

variable "cpu_architecture" {
  description = "Architecture of the images: X86_64, or ARM64, which costs a fifth less."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "cpu_architecture must be X86_64 or ARM64."
  }
}

variable "github" {
  description = "GitHub repository, OWNER/NAME, whose release workflow may push images. provider_arn names GitHub's identity provider if the account already has it."
  type        = object({ repository = string, provider_arn = optional(string) })
  default     = null

  validation {
    condition     = var.github == null ? true : can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github.repository))
    error_message = "github.repository must be OWNER/NAME: a wildcard would let others push."
  }
}

variable "task_sizes" {
  description = "CPU units (1024 is a core) and MiB of memory of each kind of task, in a combination that Fargate offers. The tags ecs/cpu and ecs/memory override them for a single run."
  type = object({
    api       = optional(object({ cpu = number, memory = number }), { cpu = 256, memory = 512 })
    webserver = optional(object({ cpu = number, memory = number }), { cpu = 512, memory = 1024 })
    daemon    = optional(object({ cpu = number, memory = number }), { cpu = 512, memory = 1024 })
    code      = optional(object({ cpu = number, memory = number }), { cpu = 512, memory = 1024 })
    run       = optional(object({ cpu = number, memory = number }), { cpu = 1024, memory = 2048 })
  })
  default = {}

  validation {
    condition = alltrue([
      for size in values(var.task_sizes) :
      contains([256, 512, 1024, 2048, 4096, 8192, 16384], size.cpu) && size.memory >= size.cpu * 2 && size.memory <= size.cpu * 8
    ])
    error_message = "task_sizes needs cpu of 256, 512, 1024, 2048, 4096, 8192 or 16384 and 2 to 8 MiB of memory for each unit of it."
  }
}

variable "api_tasks" {
  description = "Minimum and maximum number of API tasks."
  type        = object({ min = number, max = number })
  default     = { min = 1, max = 4 }

  validation {
    condition     = var.api_tasks.min >= 1 && var.api_tasks.max >= var.api_tasks.min
    error_message = "api_tasks needs 1 <= min <= max."
  }
}

variable "api_requests_per_task" {
  description = "Requests per minute and API task above which another task is started."
  type        = number
  default     = 6000
}

variable "api_slow_seconds" {
  description = "99th percentile of the API's response time in seconds above which, for a quarter of an hour, there is an alarm."
  type        = number
  default     = 2
}

variable "api_requests_per_address" {
  description = "Requests from one address in five minutes above which WAF refuses them (429); it also refuses known attacks. About 6 USD per month, and 0.60 per million requests. Null for no WAF."
  type        = number
  default     = null

  validation {
    condition     = var.api_requests_per_address == null ? true : var.api_requests_per_address >= 10
    error_message = "api_requests_per_address must be 10 or more."
  }
}

variable "api_allowed_cidrs" {
  description = "Networks that may reach the API's load balancer."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "api_open_reads" {
  description = "Whether the metrics can be read without a key."
  type        = bool
  default     = false
}

variable "ui_allowed_cidrs" {
  description = "Private networks (the VPN, a peered network) that may reach the UI. Empty: none."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.ui_allowed_cidrs : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "ui_allowed_cidrs must be networks such as 10.8.0.0/24, never the whole internet: anyone who can reach the UI may start jobs."
  }
}

variable "ui_oidc" {
  description = "Login for the UI: an application of your OpenID Connect provider with the redirect URL https://<ui_domain_name>/oauth2/idpresponse. Without it anyone who can reach the UI may use it."
  type = object({
    issuer                 = string
    authorization_endpoint = string
    token_endpoint         = string
    user_info_endpoint     = string
    client_id              = string
  })
  default = null
}

variable "ui_oidc_client_secret" {
  description = "Secret of that application, as TF_VAR_ui_oidc_client_secret. A listener needs it as a plain attribute, so it is in the state, the only secret there."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = (var.ui_oidc == null) == (var.ui_oidc_client_secret == null)
    error_message = "ui_oidc and ui_oidc_client_secret belong together."
  }
}

variable "container_insights" {
  description = "CloudWatch Container Insights of the cluster: disabled, enabled or enhanced. Its metrics cost extra."
  type        = string
  default     = "enabled"

  validation {
    condition     = contains(["disabled", "enabled", "enhanced"], var.container_insights)
    error_message = "container_insights must be disabled, enabled or enhanced."
  }
}

variable "log_retention_days" {
  description = "Days for which logs are kept, one of the values that CloudWatch offers."
  type        = number
  default     = 365

  validation {
    condition     = contains([30, 60, 90, 120, 180, 365, 400, 545, 731], var.log_retention_days)
    error_message = "log_retention_days must be one of 30, 60, 90, 120, 180, 365, 400, 545, 731."
  }
}

variable "monthly_budget_usd" {
  description = "Monthly budget of the account. Notifications are sent at 80 %, and when the forecast exceeds it."
  type        = number
  default     = 300

  validation {
    condition     = var.monthly_budget_usd > 0
    error_message = "monthly_budget_usd must be more than 0."
  }
}
