"""An AWS emulator (moto) on loopback, and clients for it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3

REGION = "us-east-1"
# moto accepts any key.
KEY = "testing"


@dataclass(frozen=True)
class Cloud:
    """A running AWS emulator."""

    url: str

    @cache  # noqa: B019 - there is a single instance for the whole check
    def client(self, service: str) -> Any:
        """Return a boto3 client of a service."""
        make: Any = boto3.client
        return make(
            service, endpoint_url=self.url, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=KEY
        )

    def pages(self, service: str, operation: str, key: str, **arguments: Any) -> list[Any]:
        """Return all items that a paginated operation lists under a key.

        Args:
            service: boto3's name of the service.
            operation: boto3's name of the operation.
            key: of the list in each page.
            arguments: of the operation.
        """
        pages = self.client(service).get_paginator(operation).paginate(**arguments)
        return [each for page in pages for each in page[key]]

    def certificate(self, name: str) -> str:
        """Create a certificate for a name and return its ARN: a load balancer accepts existing ones only."""
        arn: str = self.client("acm").request_certificate(DomainName=name)["CertificateArn"]
        return arn


@contextmanager
def running_cloud() -> Iterator[Cloud]:
    """Run an empty emulator on a free loopback port for the duration of a block."""
    from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
    from moto.budgets.responses import BudgetsResponse
    from moto.server import ThreadedMotoServer

    # Terraform calls these after it has created a budget or a scaling target, and moto does not implement them.
    for responses, operation, response in (
        (BudgetsResponse, "list_tags_for_resource", "{}"),
        (BudgetsResponse, "describe_subscribers_for_notification", '{"Subscribers": []}'),
        (ApplicationAutoScalingResponse, "list_tags_for_resource", "{}"),
    ):
        setattr(responses, operation, lambda _self, response=response: response)
    # Otherwise it logs every request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Cloud(f"http://{host}:{port}")
    finally:
        server.stop()
