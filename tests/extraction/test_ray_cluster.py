"""Which Ray cluster, what a worker takes of it, the connection, and the scripts' arguments for it."""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.errors import ConfigError
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.extraction.ray_cluster import RayCluster, _room, connected
from keras_actrec.extraction.script import add_run_arguments, run_options, workers_from
from keras_actrec.extraction.workers import available_cores, in_this_process
from tests.extraction.small import write_clip

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 0}, r"at least one worker is needed \(found 0\)"),
        ({"cpus": 0}, "takes more than no CPU"),
        ({"cpus": float("nan")}, "takes more than no CPU"),
        ({"gpus": -1}, "0 or more"),
        ({"attempts": 0}, "at least one attempt"),
        ({"address": "here"}, r"no address of a Ray cluster \(found 'here', expected auto, HOST:PORT or ray://HOST:PORT"),
        ({"address": "http://10.0.0.1:8265"}, "no address of a Ray cluster"),
    ],
)
def test_settings_that_make_no_sense(options, words):
    with pytest.raises(ConfigError, match=words):
        RayCluster(**options)


def test_without_ray_the_way_out_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ConfigError, match=r"Ray is not installed: .*Install it: pip install 'keras_actrec\[distributed\]'"),
        connected(RayCluster(), 1),
    ):
        pytest.fail("connected")


@pytest.mark.parametrize(
    ("options", "machines", "room"),
    [
        ({}, [{"CPU": 4.0}, {"CPU": 2.0, "GPU": 1.0}], 6),
        ({"cpus": 3}, [{"CPU": 4.0}, {"CPU": 2.0}], 1),
        ({"gpus": 1}, [{"CPU": 4.0}, {"CPU": 8.0, "GPU": 2.0}], 2),
        ({"gpus": 0.5}, [{"CPU": 2.0, "GPU": 8.0}, {"CPU": 8.0, "GPU": 2.0}], 2 + 4),
        ({"cpus": 0.1}, [{"CPU": 0.3}], 3),
    ],
)
def test_room_is_counted_machine_by_machine(options, machines, room):
    nodes = [{"Alive": True, "Resources": one} for one in machines] + [{"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}]
    assert _room(SimpleNamespace(nodes=lambda: nodes), RayCluster(**options)) == room


def test_a_cluster_without_what_a_worker_takes():
    nodes = [{"Alive": True, "Resources": {"CPU": 4.0}}]
    words = r"no machine .*found 4 CPUs and 0 GPUs, expected 1 CPUs and 0\.5 GPUs on one of them"
    with pytest.raises(ConfigError, match=words):
        _room(SimpleNamespace(nodes=lambda: nodes), RayCluster(gpus=0.5))


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nobody_answers_is_refused_at_once(scheme):
    pytest.importorskip("ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
        words = rf"no Ray cluster can be used at {address}: .*refused.*`ray start --head`.*RAY_AUTH_TOKEN"
        with pytest.raises(ConfigError, match=words), connected(RayCluster(address=address), 1):
            pytest.fail("connected")


def test_a_local_cluster_lives_as_long_as_the_run_and_changes_nothing_else():
    ray = pytest.importorskip("ray")
    handler, names = signal.getsignal(signal.SIGTERM), set(os.environ)
    more = available_cores() + 1  # than cores: as with processes, that is the caller's business
    with connected(RayCluster(workers=more), 100) as (module, count, threads):
        assert module is ray and ray.is_initialized()
        assert (count, threads) == (more, 1)
        assert _room(ray, RayCluster()) >= more
    assert not ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is handler
    assert not {name for name in set(os.environ) - names if name.startswith(("RAY_DEDUP", "RAY_USAGE"))}


def arguments(*words):
    parser = argparse.ArgumentParser()
    add_run_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "workers"),
    [
        ((), 1),
        (("--workers", "3"), 3),
        (("--ray",), RayCluster()),
        (("--ray", "--workers", "3"), RayCluster(workers=3)),
        (("--ray", "auto"), RayCluster(address="auto")),
        (
            ("--ray", "ray://head:10001", "--gpus-per-worker", "0.5", "--cpus-per-worker", "4"),
            RayCluster(address="ray://head:10001", cpus=4, gpus=0.5),
        ),
    ],
)
def test_arguments_of_scripts(words, workers):
    assert run_options(arguments(*words))["workers"] == workers
    assert in_this_process(workers) == (workers == 1)


def test_arguments_of_ray_without_ray_and_the_shard():
    with pytest.raises(ConfigError, match=r"--cpus-per-worker and --gpus-per-worker.*Give --ray as well"):
        workers_from(arguments("--gpus-per-worker", "1", "--cpus-per-worker", "2"))
    assert run_options(arguments("--shard", "1/4"))["share"] == (1, 4)
    with pytest.raises(SystemExit):
        arguments("--shard", "1")


HEAD = """
import ray, sys, time
ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="critical")
print("at", ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def head(monkeypatch):
    """Address of a cluster of another process, with a token."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-this-test-alone-0123456789abcdef")
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    try:
        yield re.match(r"at (\S+)", process.stdout.readline())[1]
    finally:
        process.communicate(timeout=60)


def test_a_script_on_an_existing_cluster_by_its_address(head, tmp_path):
    for action in (1, 2, 3):
        write_clip(tmp_path / "ntu", action)
    command = [sys.executable, REPOSITORY / "preprocessing" / "extract_poses.py", "--data-root", "ntu", "--cache", "poses"]
    command += ["--clips-per-shard", "1", "--ray", head]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert re.fullmatch(r"poses: 3 clips written \(.*\), 0 already there, 0 left out\n", done.stdout), "and nothing of Ray's"
    assert extract_poses(NTURGBD(tmp_path / "ntu"), tmp_path / "poses").skipped == 3
