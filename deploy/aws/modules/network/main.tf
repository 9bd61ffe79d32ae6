# The VPC: public subnets contain load balancers and NAT gateways only, everything else is in private ones. In an existing
# VPC only security groups of tasks are created here: its owner is responsible for routes, gateways and flow logs.
data "aws_region" "current" {}

data "aws_caller_identity" "current" {}

locals {
  own   = var.existing == null ? 1 : 0
  zones = var.existing == null ? var.availability_zones : []
  nats  = var.nat_gateway_per_zone ? length(local.zones) : local.own

  vpc_id = var.existing == null ? one(aws_vpc.this[*].id) : var.existing.vpc_id
}

resource "aws_vpc" "this" {
  count = local.own

  cidr_block           = var.cidr
  enable_dns_hostnames = true
  enable_dns_support   = true

  tags = { Name = var.prefix }
}

# Resources without a security group of their own can reach nothing.
resource "aws_default_security_group" "closed" {
  count = local.own

  vpc_id = local.vpc_id

  tags = { Name = "${var.prefix}-default-closed" }
}

resource "aws_subnet" "public" {
  count = length(local.zones)

  vpc_id            = local.vpc_id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.cidr, 4, count.index)

  tags = { Name = "${var.prefix}-public-${local.zones[count.index]}" }
}

resource "aws_subnet" "private" {
  count = length(local.zones)

  vpc_id            = local.vpc_id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.cidr, 4, 8 + count.index)

  tags = { Name = "${var.prefix}-private-${local.zones[count.index]}" }
}

resource "aws_internet_gateway" "this" {
  count = local.own

  vpc_id = local.vpc_id

  tags = { Name = var.prefix }
}

resource "aws_eip" "nat" {
  count = local.nats

  domain = "vpc"

  tags = { Name = "${var.prefix}-nat-${local.zones[count.index]}" }
}

resource "aws_nat_gateway" "this" {
  count = local.nats

  allocation_id = aws_eip.nat[count.index].id
  subnet_id     = aws_subnet.public[count.index].id

  tags = { Name = "${var.prefix}-${local.zones[count.index]}" }

  depends_on = [aws_internet_gateway.this]
}

resource "aws_route_table" "public" {
  count = local.own

  vpc_id = local.vpc_id

  tags = { Name = "${var.prefix}-public" }
}

resource "aws_route" "internet" {
  count = local.own

  route_table_id         = aws_route_table.public[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this[0].id
}

resource "aws_route_table_association" "public" {
  count = length(local.zones)

  route_table_id = aws_route_table.public[0].id
  subnet_id      = aws_subnet.public[count.index].id
}

resource "aws_route_table" "private" {
  count = length(local.zones)

  vpc_id = local.vpc_id

  tags = { Name = "${var.prefix}-private-${local.zones[count.index]}" }
}

resource "aws_route" "nat" {
  count = length(local.zones)

  route_table_id         = aws_route_table.private[count.index].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[min(count.index, local.nats - 1)].id
}

resource "aws_route_table_association" "private" {
  count = length(local.zones)

  route_table_id = aws_route_table.private[count.index].id
  subnet_id      = aws_subnet.private[count.index].id
}
