"""Rendezvous of a job's ranks: rank 0 listens where the others, and nobody further away, can reach it."""

import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cosmos.config.disk_reading import exists
from cosmos.distributed.environment import STORE_LISTENER
from cosmos.errors import HangError, TransientError
from cosmos.run.files import write_json
from cosmos.run.records import read_record

RENDEZVOUS_PATIENCE = 600.0
"""Seconds that ranks wait for rank 0 to leave its address: nodes do not start at the same time."""

LOOPBACK = "127.0.0.1"

SOCKET_INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""Variables that name the network interface on which the ranks' own connections are made."""


@dataclass(frozen=True)
class Rendezvous:
    """Address and port at which rank 0 listens."""

    address: str
    port: int


def meet_ranks(rank: int, nodes: tuple[str, ...], path: Path) -> None:
    """Export the address and port of rank 0, which opens a socket and leaves both in the file `path`.

    Ranks of a single node meet on its loopback interface. Raises HangError where rank 0 is not there in
    time, and DamagedDataError where its file is damaged.
    """
    os.environ[STORE_LISTENER] = open_listener(nodes, path) if rank == 0 else ""
    place = await_rendezvous(path)
    os.environ.update(MASTER_ADDR=place.address, MASTER_PORT=str(place.port))
    if len(nodes) < 2:
        for variable in SOCKET_INTERFACES:
            os.environ.setdefault(variable, "lo")


def open_listener(nodes: tuple[str, ...], path: Path) -> str:
    """Listen at a free port, write that into the file `path`, and return the socket's descriptor."""
    address = address_towards(nodes[1]) if len(nodes) > 1 else LOOPBACK
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, 0), family=family, backlog=socket.SOMAXCONN)
    write_json(path, asdict(Rendezvous(address, listener.getsockname()[1])))
    return str(listener.detach())  # open until the process ends


def address_towards(host: str) -> str:
    """Return the address of this machine that `host` sees: of several, that of the network between them.

    Raises TransientError where the name of `host` has no address, or there is no way to it.
    """
    with suppress(OSError):
        for family, kind, protocol, _, address in socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM):
            with suppress(OSError), socket.socket(family, kind, protocol) as probe:
                probe.connect(address)  # of a datagram's socket: nothing is sent
                own: str = probe.getsockname()[0]
                return own
    raise TransientError(f"{socket.gethostname()} finds no way to the job's node {host}")


def await_rendezvous(path: Path) -> Rendezvous:
    """Return what rank 0 wrote, once it is there; raises as `meet_ranks`."""
    waited_until = time.monotonic() + RENDEZVOUS_PATIENCE
    while not exists(path):
        if time.monotonic() > waited_until:
            raise HangError(
                f"{path}: rank 0 did not write it in {RENDEZVOUS_PATIENCE:.0f} s: it did not start"
            )
        time.sleep(0.2)
    return read_record(path, Rendezvous, "rendezvous of ranks", "the same command submits the job again")
