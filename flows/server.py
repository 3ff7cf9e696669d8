"""A Prefect server with the flows, and a worker, on this machine: `make serve` and `make serve-down`.

Both live in .prefect/ of the working directory, the root of the checkout. Serving again starts what does not
run, and tells the server the flows as they are now.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from flows.daemons import Daemon

HOME = Path(".prefect")
POOL = "cosmos"
QUEUES = {"workspace": 1, "evaluations": 2, "sweeps": 4}
"""Work queues, and how many flow runs of each may run at a time."""

PREFECT = (sys.executable, "-m", "prefect")
SERVER = Daemon("server", (*PREFECT, "server", "start"), HOME)
WORKER = Daemon("worker", (*PREFECT, "worker", "start", "--pool", POOL), HOME)

START_SECONDS = 180

DEFAULTS = {
    "PREFECT_SERVER_API_HOST": "127.0.0.1",
    "PREFECT_SERVER_API_PORT": "4200",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "cosmos",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
}
OF_OTHER_SERVERS = ("PREFECT_PROFILE", "PREFECT_API_KEY")

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


class ServeError(RuntimeError):
    """The server or the worker does not run; the message says why."""


def serve() -> None:
    """Sees to it that a server and a worker run, and that the server knows the flows. Raises ServeError."""
    os.environ |= {**DEFAULTS, **os.environ, "PREFECT_HOME": str(HOME.absolute())}
    for name in OF_OTHER_SERVERS:
        os.environ.pop(name, None)
    url = serving()
    os.environ["PREFECT_API_URL"] = f"{url}/api"
    from flows import pool  # Prefect reads its settings when it is imported

    pool.make(POOL, QUEUES)
    deploy()
    if running := WORKER.running():
        print(f"the worker runs already: process {running[0]}")
    else:
        pool.bury_orphans(POOL)
        now = datetime.now(UTC)
        WORKER.start()
        wait_for(WORKER, lambda: pool.has_worker(POOL, since=now))
    print(HINTS.format(url=url, home=HOME))


def serving() -> str:
    """The address of the server, which is started if need be."""
    running = SERVER.running()
    if running:
        process_id, url = running
        print(f"the server runs already: process {process_id}")
    else:
        host, port = os.environ["PREFECT_SERVER_API_HOST"], int(os.environ["PREFECT_SERVER_API_PORT"])
        refuse_taken(host, port)
        url = f"http://{host}:{port}"
        print(f"starting a server at {url}, which takes half a minute the first time")
        SERVER.start(url)
    wait_for(SERVER, lambda: answers(f"{url}/api/health"))
    return url


def refuse_taken(host: str, port: int) -> None:
    """ServeError where something listens there already."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise ServeError(
                f"{host}:{port}: {error.strerror}, by something that is not this checkout's server; "
                f"take another: PREFECT_SERVER_API_PORT={port + 1} make serve"
            ) from None


def answers(url: str) -> bool:
    """Whether a page is there."""
    try:
        with urlopen(url, timeout=5):
            return True
    except (URLError, OSError):
        return False


def wait_for(daemon: Daemon, is_ready: Callable[[], bool]) -> None:
    """Waits until a daemon is ready. ServeError where it ends instead, or takes too long."""
    end = time.monotonic() + START_SECONDS
    while not is_ready():
        if not daemon.running():
            raise ServeError(f"the {daemon.name} ended; {daemon.last_words()}")
        if time.monotonic() > end:
            raise ServeError(f"the {daemon.name} is not ready after {START_SECONDS} s; {daemon.last_words()}")
        time.sleep(0.5)


def deploy() -> None:
    """Tells the server the deployments of prefect.yaml."""
    command = [*PREFECT, "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise ServeError(f"`prefect deploy --all` failed:\n{done.stdout}")


def take_down() -> None:
    """Ends flow runs, the worker, then the server. Jobs go on."""
    running = SERVER.running()
    if running and answers(f"{running[1]}/api/health"):
        os.environ["PREFECT_API_URL"] = f"{running[1]}/api"
        from flows import pool

        pool.end_runs(POOL)
    for daemon in (WORKER, SERVER):
        print(f"the {daemon.name} {'has ended' if daemon.stop() else 'did not run'}")


def main() -> None:
    """`python -m flows.server up` or `down`."""
    commands = {"up": serve, "down": take_down}
    if sys.argv[1:] not in ([name] for name in commands):
        sys.exit(f"usage: python -m flows.server {'|'.join(commands)}")
    try:
        commands[sys.argv[1]]()
    except ServeError as error:
        sys.exit(f"serve: {error}")


if __name__ == "__main__":
    main()
