"""Two processes of this machine that train together, each the same module with the same arguments."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 600
"""Seconds for the workers to end, whatever happens to one of them."""


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(*command: str) -> list[subprocess.Popen]:
    """Starts a Python command twice."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = []
    for index in range(2):
        config = json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env={**environment, "TF_CONFIG": config}, **pipes)
        processes.append(process)
    return processes


def run(module: str, folder: Path, mode: str, *, stands_still: bool = False) -> list[tuple[int, str]]:
    """Status and standard error of two workers.

    Args:
        module: run as `-m MODULE multiworker FOLDER MODE`.
        folder, mode: its arguments.
        stands_still: the second worker does, and is killed when the chief has ended.
    """
    processes = start("-m", module, "multiworker", str(folder), mode)
    try:
        results = []
        for process in processes:
            text = process.communicate(timeout=LIMIT)[1]
            results.append((process.returncode, text))
            if stands_still:
                processes[1].kill()
        return results
    finally:
        for process in processes:
            process.kill()
