"""An AWS of our own on loopback, as far as moto knows AWS, and clients to look at it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3

REGION = "us-east-1"
# What moto takes for anybody.
KEY = "testing"


@dataclass(frozen=True)
class Cloud:
    """Where the AWS of our own listens."""

    url: str

    @cache  # noqa: B019 - there is one cloud, for as long as the check takes
    def client(self, service: str) -> Any:
        """Return a boto3 client of a service."""
        make: Any = boto3.client
        return make(
            service, endpoint_url=self.url, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=KEY
        )

    def pages(self, service: str, operation: str, key: str, **arguments: Any) -> list[Any]:
        """Return everything that an operation in pages lists under a key."""
        pages = self.client(service).get_paginator(operation).paginate(**arguments)
        return [each for page in pages for each in page[key]]

    def certificate(self, name: str) -> str:
        """Make a certificate of a name and return its ARN: a load balancer takes none that is not there."""
        arn: str = self.client("acm").request_certificate(DomainName=name)["CertificateArn"]
        return arn


@contextmanager
def running_cloud() -> Iterator[Cloud]:
    """Start an empty AWS on a free port of loopback, and end it with the block."""
    from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
    from moto.budgets.responses import BudgetsResponse
    from moto.server import ThreadedMotoServer

    # Terraform asks for these after it has made a budget or a scaling target, and moto does not know them.
    for answers, question, answer in (
        (BudgetsResponse, "list_tags_for_resource", "{}"),
        (BudgetsResponse, "describe_subscribers_for_notification", '{"Subscribers": []}'),
        (ApplicationAutoScalingResponse, "list_tags_for_resource", "{}"),
    ):
        setattr(answers, question, lambda _self, answer=answer: answer)
    # It would print a line for every request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Cloud(f"http://{host}:{port}")
    finally:
        server.stop()
