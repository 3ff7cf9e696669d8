"""Prefect server with the flows, and a worker, on this machine: `make serve` and `make serve-down`.

Both live in .prefect/ of the working directory, the root of the checkout. Serving again starts what does not
run, and deploys the flows as they are now.
"""

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

from httpx import HTTPError

from cosmos.config.printable_text import print_text
from cosmos.errors import (
    CosmosError,
    InputError,
    TransientError,
    error_class,
    short_reason,
    summarize_error,
)
from flows.daemons import Daemon

HOME = Path(".prefect")
POOL = "cosmos"
QUEUES = {"workspace": 4, "evaluations": 2, "sweeps": 4}
"""Work queues, and the number of flow runs of each that may run at a time."""

PREFECT = (sys.executable, "-m", "prefect")
SERVER = Daemon(
    "server",
    (*PREFECT, "server", "start"),
    HOME,
    f"where its database is damaged or of another version of Prefect, move {HOME}/prefect.db away: the next "
    "server begins without the list of earlier flow runs, whose data, models and jobs stay",
)
WORKER = Daemon("worker", (*PREFECT, "worker", "start", "--pool", POOL), HOME)

START_SECONDS = 180
MAX_PORT = 65535

DEFAULT_SETTINGS = {
    "PREFECT_SERVER_API_HOST": "127.0.0.1",
    "PREFECT_SERVER_API_PORT": "4200",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "cosmos",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
}
FOREIGN_SETTINGS = ("PREFECT_PROFILE", "PREFECT_API_KEY")

HINTS = """\
the UI: {url}   logs: {home}/server.log, {home}/worker.log   end both: make serve-down
in another shell, with .venv/bin on PATH:
  export PREFECT_API_URL={url}/api
  prefect deployment ls
  prefect deployment run pipeline/local --watch
  prefect deployment run pretrain/slurm -p experiment=clip -p 'pretrain={{"epochs": 5}}'
  prefect deployment run evaluate-sweep/local -p 'checkpoints=["pipeline/model/checkpoint.pt"]'
  prefect deployment run pretrain-sweep/local -p sweep=demo
"""


def serve() -> None:
    """Start a server and a worker, where they do not run, and deploy the flows.

    Raises InputError where the port is taken, CosmosError where the server or the worker does not start.
    """
    os.environ |= {**DEFAULT_SETTINGS, **os.environ, "PREFECT_HOME": str(HOME.absolute())}
    for name in FOREIGN_SETTINGS:
        os.environ.pop(name, None)
    url = start_server()
    os.environ["PREFECT_API_URL"] = f"{url}/api"
    from flows import work_pool  # Prefect reads its settings when it is imported

    work_pool.create_work_pool(POOL, QUEUES)
    deploy_flows()
    if running := WORKER.running():
        print_text(f"the worker runs already: process {running.id}")
        work_pool.mark_orphans_crashed(POOL, work_pool.has_lost_process)
    else:
        work_pool.mark_orphans_crashed(POOL, work_pool.has_no_process)
        now = datetime.now(UTC)
        WORKER.start()
        wait_until_ready(WORKER, lambda: work_pool.has_worker(POOL, since=now))
    print_text(HINTS.format(url=url, home=HOME))


def start_server() -> str:
    """Return the address of the server, which is started if need be."""
    if running := SERVER.running():
        url = running.note
        print_text(f"the server runs already: process {running.id}")
    else:
        host, port = os.environ["PREFECT_SERVER_API_HOST"], os.environ["PREFECT_SERVER_API_PORT"]
        if not (port.isdecimal() and int(port) <= MAX_PORT):
            raise InputError(f"PREFECT_SERVER_API_PORT: {port!r} is no number of a port, such as 4200")
        check_port_free(host, int(port))
        url = f"http://{host}:{port}"
        print_text(f"starting a server at {url}, which takes half a minute the first time")
        SERVER.start(url)
    wait_until_ready(SERVER, lambda: is_reachable(f"{url}/api/health"))
    return url


def check_port_free(host: str, port: int) -> None:
    """Raise InputError where no server can listen: the port is taken, or the address not this machine's."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            remedy = (
                ", by something that is not this checkout's server; take another: "
                f"PREFECT_SERVER_API_PORT={port + 1} make serve"
                if error.errno == errno.EADDRINUSE
                else "; check PREFECT_SERVER_API_HOST and PREFECT_SERVER_API_PORT"
            )
            raise InputError(f"{host}:{port}: {error.strerror}{remedy}") from None


def is_reachable(url: str) -> bool:
    """Return True when a server answers at an address."""
    try:
        with urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def wait_until_ready(daemon: Daemon, is_ready: Callable[[], bool]) -> None:
    """Wait until a daemon is ready. Raises CosmosError where it ends instead, or takes too long."""
    end = time.monotonic() + START_SECONDS
    while not is_ready():
        if not daemon.running():
            raise CosmosError(daemon.describe_end())
        if time.monotonic() > end:
            raise CosmosError(f"the {daemon.name} is not ready after {START_SECONDS} s; see {daemon.log}")
        time.sleep(0.5)


def deploy_flows() -> None:
    """Deploy the flows on the server, as prefect.yaml has them. Raises CosmosError where that fails."""
    command = [*PREFECT, "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise CosmosError(f"`prefect deploy --all` failed:\n{done.stdout}")


def stop_serving() -> None:
    """End flow runs, the worker, then the server. Jobs go on."""
    running = SERVER.running()
    if running and is_reachable(f"{running.note}/api/health"):
        os.environ["PREFECT_API_URL"] = f"{running.note}/api"
        from flows import work_pool

        try:
            work_pool.end_flow_runs(POOL)
        except HTTPError as error:  # the worker ends its runs, too, if not as cleanly
            print_text(f"serve: {describe_refusal(error)}", to_errors=True)
    for daemon in (WORKER, SERVER):
        print_text(f"the {daemon.name} {'has ended' if daemon.stop() else 'did not run'}")


def describe_refusal(error: HTTPError) -> str:
    """Return the message of a request that the server failed to answer."""
    return f"the server did not answer as it should ({short_reason(error)}); {SERVER.log} says why"


def main() -> None:
    """Run `python -m flows.server up` or `down`; an error ends it with the exit status of its class."""
    commands = {"up": serve, "down": stop_serving}
    if sys.argv[1:] not in ([name] for name in commands):
        sys.exit(f"usage: python -m flows.server {'|'.join(commands)}")
    try:
        commands[sys.argv[1]]()
    except HTTPError as error:
        print_text(f"serve: {describe_refusal(error)}; then give the same command again", to_errors=True)
        sys.exit(TransientError.exit_status)
    except Exception as error:
        its_class = error_class(error)
        if its_class is None:
            raise
        print_text(f"serve: {summarize_error(error)}", to_errors=True)
        sys.exit(its_class.exit_status)


if __name__ == "__main__":
    main()
