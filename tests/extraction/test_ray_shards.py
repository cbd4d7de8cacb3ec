"""Shards on a Ray cluster: all once, the same content as from one process, and what happens when a worker dies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from types import ModuleType

import h5py
import pytest

from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.errors import CacheError, ConfigError, DiskFullError, WeightsError
from keras_actrec.extraction import ray_shards
from keras_actrec.extraction.poses import extract_poses
from keras_actrec.extraction.ray_cluster import RayCluster
from keras_actrec.extraction.ray_shards import run_on_cluster
from keras_actrec.extraction.workers import available_cores
from keras_actrec.files import process_runs
from tests.extraction.ray_jobs import DiesOnce, KillsOnce, NeedsAll, NeverUp, Raises
from tests.extraction.small import WriteNumbers, write_clip

ray = pytest.importorskip("ray")

TWO, ONE = RayCluster(workers=2), RayCluster(workers=1)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """A cluster to which this process is connected: every run of this file uses it, and none stops it."""
    cpus = max(2, available_cores())
    ray.init("local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="critical")
    yield
    ray.shutdown()


def numbers(directory):
    return sorted(int(path.name) for path in directory.iterdir())


def test_every_shard_once(tmp_path):
    ticks = []
    results = run_on_cluster(WriteNumbers(str(tmp_path)), [4, 2, 7, 1], TWO, ticks.append)
    assert numbers(tmp_path) == [1, 2, 4, 7]
    assert [result.shard for result in results] == [1, 2, 4, 7]
    assert sum(ticks) == 4
    assert ray.is_initialized(), "the connection was there before"
    assert run_on_cluster(WriteNumbers(str(tmp_path)), [], TWO, ticks.append) == []


def test_the_shard_of_a_killed_worker_is_done_by_another(tmp_path):
    (tmp_path / "out").mkdir()
    ticks = []
    results = run_on_cluster(DiesOnce(str(tmp_path / "out"), odd=1), range(4), TWO, ticks.append)
    assert (tmp_path / "died").exists()
    assert numbers(tmp_path / "out") == [0, 1, 2, 3], "and nothing unfinished"
    assert [result.shard for result in results] == [0, 1, 2, 3]
    assert sum(ticks) == 4


def test_a_shard_that_kills_every_worker_is_given_up_when_the_others_are_done(tmp_path):
    words = rf"shard 1 \(2 times, the last time: process \d+ on {socket.gethostname()}: its worker process has died.*\)\. "
    with pytest.raises(CacheError, match=words + "Run the same command again.*fewer workers") as caught:
        run_on_cluster(
            WriteNumbers(str(tmp_path), odd=1, how="killed"), range(4), RayCluster(workers=1, attempts=2), lambda clips: None
        )
    assert caught.value.file == str(tmp_path)
    assert numbers(tmp_path) == [0, 2, 3]


def test_workers_that_die_on_their_way_up(tmp_path):
    cluster = RayCluster(workers=1, attempts=1)
    with pytest.raises(CacheError, match=r"3 shards were not begun; workers died on their way up: process \d+ on .*has died"):
        run_on_cluster(NeverUp(str(tmp_path)), range(3), cluster, lambda clips: None)
    assert numbers(tmp_path) == []


def test_errors_that_concern_more_than_one_clip_stop_the_run_as_they_are(tmp_path):
    with pytest.raises(DiskFullError, match=r"^x\.h5: no space left \(found 0 bytes\)\. Free some$"):
        run_on_cluster(Raises(str(tmp_path)), range(3), ONE, lambda clips: None)
    with pytest.raises(WeightsError, match=r"^w\.h5: no weights\. Get some$"):
        run_on_cluster(Raises(str(tmp_path), how="open"), range(3), ONE, lambda clips: None)
    assert numbers(tmp_path) == []


def test_a_bug_surfaces_with_its_traceback(tmp_path):
    job = WriteNumbers(str(tmp_path), odd=0, how="bug")
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*in _write.*ZeroDivisionError: a bug in the job"):
        run_on_cluster(job, range(2), ONE, lambda clips: None)


def test_a_worker_that_does_not_see_the_data_is_refused_before_it_leaves_out_every_clip(tmp_path):
    job = WriteNumbers(str(tmp_path), read=(tmp_path, tmp_path / "data"))
    with pytest.raises(
        CacheError, match=rf"{tmp_path}/data: a worker on .* does not see .*Put data and caches on a file system"
    ):
        run_on_cluster(job, range(2), ONE, lambda clips: None)
    assert numbers(tmp_path) == []


def test_a_folder_of_the_same_name_is_not_the_same_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_shards, "_SECONDS_TO_SEE", 0.0)
    with pytest.raises(CacheError, match=rf"^{tmp_path}: a worker on .* does not see"):
        ray_shards._Seen(tmp_path, tmp_path / "marker", ()).check()
    (tmp_path / "marker").touch()
    ray_shards._Seen(tmp_path, tmp_path / "marker", (tmp_path,)).check()


def test_machines_with_another_version_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_shards, "__version__", "9.9")
    with pytest.raises(ConfigError, match=r"another version of keras_actrec: .*found \d.*expected 9\.9.*on all machines"):
        run_on_cluster(WriteNumbers(str(tmp_path)), range(2), ONE, lambda clips: None)


@pytest.mark.parametrize("missing", ["job", "worker"])
def test_machines_without_what_the_workers_import_are_named(tmp_path, monkeypatch, missing):
    here = ModuleType("only_here")  # this process has such a module, workers have not
    monkeypatch.setitem(sys.modules, "only_here", here)
    one = WriteNumbers if missing == "job" else ray_shards._ShardWriter
    here.Other = type("Other", (one,), {"__module__": "only_here"})
    monkeypatch.setattr(ray_shards, "_ShardWriter", here.Other if missing == "worker" else ray_shards._ShardWriter)
    job = (here.Other if missing == "job" else WriteNumbers)(str(tmp_path))
    words = r"lacks what the workers import: [\d.:a-f]+ \(found ModuleNotFoundError: .*'only_here'\)\. Install"
    with pytest.raises(ConfigError, match=words):
        run_on_cluster(job, range(2), ONE, lambda clips: None)


def test_a_busy_cluster_is_waited_for_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_shards, "_SECONDS_WITHOUT_WORKERS", 0.0)
    cpus = max(2, available_cores())
    other = ray.remote(num_cpus=cpus)(NeedsAll).remote()
    ray.get(other.works.remote())
    timer = threading.Timer(3, ray.kill, [other])
    timer.start()
    with pytest.warns(UserWarning, match="no worker has begun: the Ray cluster is busy"):
        run_on_cluster(WriteNumbers(str(tmp_path)), range(2), TWO, lambda clips: None)
    timer.join()
    assert numbers(tmp_path) == [0, 1]


STOPPED = """
import sys
from keras_actrec.extraction.ray_cluster import RayCluster
from keras_actrec.extraction.ray_shards import run_on_cluster
from tests.extraction.ray_jobs import Sleeps
run_on_cluster(Sleeps(sys.argv[1]), range(2), RayCluster(workers=2), lambda clips: None)
"""


@pytest.mark.parametrize(("send", "number"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)], ids=["Ctrl-C", "kill"])
def test_a_stopped_run_stops_its_workers_and_leaves_nothing_unfinished(tmp_path, send, number):
    command = [sys.executable, "-c", STOPPED, str(tmp_path)]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    parts, end = [], time.monotonic() + 100
    while len(parts) < 2 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
        parts = list(tmp_path.glob("poses-*.part"))
    send(process.pid, number)  # Ctrl-C goes to the workers as well
    output, _ = process.communicate(timeout=60)
    assert len(parts) == 2, output
    assert process.returncode != 0
    assert list(tmp_path.iterdir()) == []
    assert not any(process_runs(int(path.name.split(".")[-2])) for path in parts)


def content(directory):
    """Names of files → all that is in them: datasets by the bytes of their values, and attributes."""
    found = {}
    for path in sorted(directory.iterdir()):
        if path.suffix != ".h5":
            found[path.name] = path.read_bytes()
            continue
        with h5py.File(path) as file:
            values = {("", name): repr(value) for name, value in file.attrs.items()}

            def take(name, item, values=values):
                values.update({(name, key): repr(value) for key, value in item.attrs.items()})
                if isinstance(item, h5py.Dataset):
                    values[name] = (str(item.dtype), item.shape, item[()].tobytes())

            file.visititems(take)
            found[path.name] = values
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Five clips, their poses by one process and, with a worker killed in the middle of a shard, on the cluster."""
    place = tmp_path_factory.mktemp("ntu")
    for action in range(1, 6):
        write_clip(place / "ntu", action, length=8 + action, people=1 + action % 2)
    data = KillsOnce(place / "ntu")
    extract_poses(data, place / "one", clips_per_shard=2)
    report = extract_poses(data, place / "ray", clips_per_shard=2, workers=TWO)
    return place, report


def test_poses_are_those_of_one_process_though_a_worker_was_killed(place):
    folder, report = place
    assert (folder / "killed").read_text().startswith("poses-00000.h5.")
    assert (report.done, report.skipped, report.left_out) == (5, 0, ())
    assert content(folder / "ray") == content(folder / "one")


def test_hand_features_are_those_of_one_process(place):
    from keras_actrec.backbones.sensors import SensorConfig, build_sensor  # TensorFlow
    from keras_actrec.extraction.hand_features import extract_hand_features

    folder, _ = place
    model = build_sensor(SensorConfig("resnet50", "random", 32))
    model.save_weights(folder / "sensor.weights.h5")
    options = {"crop_size": 20, "batch_size": 8, "clips_per_shard": 2}
    sensor = SensorConfig("resnet50", str(folder / "sensor.weights.h5"), 32)
    data = NTURGBD(folder / "ntu")
    all_cores = RayCluster(workers=1, cpus=available_cores())  # as one process has: another number may round otherwise
    one = extract_hand_features(data, folder / "one", folder / "hands_one", sensor=sensor, **options)
    other = extract_hand_features(data, folder / "one", folder / "hands_ray", sensor=sensor, workers=all_cores, **options)
    assert (other.done, other.crops, other.left_out) == (one.done, one.crops, ()) == (5, one.crops, ())
    assert content(folder / "hands_ray") == content(folder / "hands_one")
