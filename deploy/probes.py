"""Health probes of services; `python -m deploy.probes` runs them as a container's health check.

python -m deploy.probes http 8000/health/live    a server answers there without a server error
python -m deploy.probes grpc 4000                Dagster's code server is serving
python -m deploy.probes daemon                   Dagster's daemon has written a heartbeat recently
"""

import sys
import urllib.error
import urllib.request

TIMEOUT_SECONDS = 2
# The daemon writes a heartbeat every half minute.
MAX_HEARTBEAT_AGE_SECONDS = 150


def answers_http(url: str) -> bool:
    """Return whether a server answers there without a server error; 401 and 403 count as healthy."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS):  # noqa: S310 - http, to a service of this stack
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def serves_grpc(host: str, port: int) -> bool:
    """Return whether Dagster's code server there has loaded and serves its definitions."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(f"{host}:{port}") as channel:
        try:
            request = health_pb2.HealthCheckRequest(service="DagsterApi")
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=TIMEOUT_SECONDS)  # type: ignore[attr-defined]
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def daemon_is_alive(conninfo: str) -> bool:
    """Return whether Dagster's daemon has ticked the sensors recently.

    Args:
        conninfo: libpq's connection string of Dagster's database.
    """
    import psycopg

    # Imported here, as below: the API's image does not contain orchestration.
    from orchestration.instance.tables import sensor_heartbeat

    try:
        with psycopg.connect(conninfo, connect_timeout=TIMEOUT_SECONDS) as connection:
            now, heartbeat = sensor_heartbeat(connection)
    except psycopg.Error:
        return False
    return heartbeat is not None and (now - heartbeat).total_seconds() < MAX_HEARTBEAT_AGE_SECONDS


def main() -> None:
    """Run one probe; exit with status 1 if the service is unhealthy."""
    match sys.argv[1:]:
        case ["http", address]:
            is_healthy = answers_http(f"http://127.0.0.1:{address}")
        case ["grpc", port]:
            is_healthy = serves_grpc("127.0.0.1", int(port))
        case ["daemon"]:
            from orchestration.instance.database import InstanceSettings

            is_healthy = daemon_is_alive(InstanceSettings.read().conninfo)
        case _:
            sys.exit(__doc__)
    sys.exit(not is_healthy)


if __name__ == "__main__":
    main()
