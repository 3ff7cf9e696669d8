"""Commands that start and end server and worker, where the server does not do its part."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.daemons import Daemon
from flows.server import is_reachable
from tests.flows.served import DOWN, free_port
from tests.stages.examples import ROOT

BROKEN = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Broken(BaseHTTPRequestHandler):
    def do_GET(self): self.answer(200 if self.path == "/api/health" else 500)
    def do_PATCH(self): self.answer(500)
    do_POST = do_PATCH
    def answer(self, status):
        self.send_response(status); self.send_header("Content-Length", "2"); self.end_headers()
        self.wfile.write(b"{}")
HTTPServer(("127.0.0.1", PORT), Broken).serve_forever()
"""
"""A Prefect server whose database is broken."""


@pytest.mark.slow
def test_a_server_that_answers_with_errors_is_ended_and_so_is_the_worker(tmp_path: Path) -> None:
    port, home = free_port(), tmp_path / ".prefect"
    server = Daemon("server", (sys.executable, "-c", BROKEN.replace("PORT", str(port))), home)
    worker = Daemon("worker", (sys.executable, "-c", "import time; time.sleep(60)"), home)
    server.start(f"http://127.0.0.1:{port}")
    worker.start()
    try:
        while not is_reachable(f"http://127.0.0.1:{port}/api/health"):
            time.sleep(0.05)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        down = subprocess.run(DOWN, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert down.stdout.splitlines() == ["the worker has ended", "the server has ended"], down.stderr
        assert "serve: the server did not answer as it should" in down.stderr
        assert f"{Path('.prefect/server.log')} says why" in down.stderr
        assert len(down.stderr.splitlines()) == 1
    finally:
        worker.stop()
        server.stop()
