"""Optuna's dashboard on the study of a sweep."""

from cosmos.config.machine import Machine
from cosmos.errors import InputError
from cosmos.registry.sweep_directory import find_sweep_dir
from cosmos.search.study import load_study, storage


def serve_dashboard(name: str, machine: Machine, port: int) -> None:
    """Serves the dashboard to this machine alone, until Ctrl-C; "" means the newest sweep.

    ValueError where there is no such sweep, its study cannot be read, or the dashboard is not installed.
    """
    folder = find_sweep_dir(name, machine.runs_root)
    load_study(folder, machine)
    try:
        from optuna_dashboard import run_server
    except ImportError:
        raise InputError("optuna-dashboard is not installed: pip install optuna-dashboard") from None
    print(f"{folder.path.name}: http://127.0.0.1:{port}", flush=True)
    run_server(storage(folder, machine), host="127.0.0.1", port=port)
