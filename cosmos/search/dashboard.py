"""Optuna's dashboard for the study of a sweep."""

from cosmos.config.machine import Machine
from cosmos.config.printable_text import print_text
from cosmos.errors import InputError
from cosmos.run.sweep_directory import find_sweep_dir
from cosmos.search.study_storage import load_study, open_storage


def serve_dashboard(name: str, machine: Machine, port: int) -> None:
    """Serve the dashboard to this machine alone, until Ctrl-C; the name "" means the newest sweep.

    InputError where there is no such sweep or study, or the dashboard is not installed; the errors of
    `load_study` where the study cannot be read.
    """
    folder = find_sweep_dir(name, machine.runs_root)
    load_study(folder, machine)
    try:
        from optuna_dashboard import run_server
    except ImportError:
        raise InputError("optuna-dashboard is not installed: pip install optuna-dashboard") from None
    print_text(f"{folder.path.name}: http://127.0.0.1:{port}")
    run_server(open_storage(folder, machine), host="127.0.0.1", port=port)
