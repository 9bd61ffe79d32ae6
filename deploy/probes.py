"""Whether a service does its work, asked from outside; `python -m deploy.probes` asks from a container's health check.

python -m deploy.probes http 8000/health/live    somebody answers there, and not with an error
python -m deploy.probes grpc 4000                Dagster's code server serves
python -m deploy.probes daemon                   Dagster's daemon has given a sign of life to its database lately
"""

import sys
import urllib.error
import urllib.request

TIMEOUT_SECONDS = 2
# The daemon gives one every half a minute.
MAX_SILENCE_SECONDS = 150


def answers_http(url: str) -> bool:
    """Return whether somebody speaks HTTP there; that it wants credentials is fine."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS):  # noqa: S310 - http, to a service of this stack
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def serves_grpc(host: str, port: int) -> bool:
    """Return whether Dagster's code server there has loaded its definitions and serves them."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(f"{host}:{port}") as channel:
        try:
            request = health_pb2.HealthCheckRequest(service="DagsterApi")
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=TIMEOUT_SECONDS)  # type: ignore[attr-defined]
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def daemon_lives(conninfo: str) -> bool:
    """Return whether the daemon whose instance keeps its books in a database has ticked the sensors lately.

    Args:
        conninfo: libpq's connection string of Dagster's database.
    """
    import psycopg

    # Imported here, as below: the image of the API has none of it.
    from orchestration.instance.tables import sensor_heartbeat

    try:
        with psycopg.connect(conninfo, connect_timeout=TIMEOUT_SECONDS) as connection:
            now, last = sensor_heartbeat(connection)
    except psycopg.Error:
        return False
    return last is not None and (now - last).total_seconds() < MAX_SILENCE_SECONDS


def main() -> None:
    """Ask one probe; exit status 1 when the answer is no."""
    match sys.argv[1:]:
        case ["http", place]:
            well = answers_http(f"http://127.0.0.1:{place}")
        case ["grpc", port]:
            well = serves_grpc("127.0.0.1", int(port))
        case ["daemon"]:
            from orchestration.instance.database import InstanceSettings

            well = daemon_lives(InstanceSettings.read().conninfo)
        case _:
            sys.exit(__doc__)
    sys.exit(not well)


if __name__ == "__main__":
    main()
