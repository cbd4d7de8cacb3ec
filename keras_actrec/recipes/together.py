"""What the workers of one run do together (`--strategy multiworker`), and what the chief does for all of them.

Every worker runs the same experiment. The chief, the first of them, makes the synthetic data set and writes the files of the
run; each writes its share of the shards of a cache. One process alone does all of it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, replace
from pathlib import Path

import tensorflow as tf

from keras_actrec.cache.reader import CacheReader
from keras_actrec.cache.schema import flatten
from keras_actrec.datasets.record import ActionDataset
from keras_actrec.errors import CacheError
from keras_actrec.extraction.run import ExtractionReport
from keras_actrec.recipes.sta_hands.experiment import Experiment
from keras_actrec.recipes.video.experiment import VideoExperiment
from keras_actrec.training.strategies import build_strategy
from keras_actrec.training.workers import AGAIN, Workers

MULTIWORKER = "multiworker"
SHARED_DISK = f"give a --cache-dir (or --workdir) on a disk that all machines share; then {AGAIN.partition(', then ')[2]}"
"""What to do about a worker that does not see what another has written."""
_SETTLE_SECONDS = 90.0
"""How long a network disk may take to show what another machine has written: NFS looks again after up to a minute."""
_OF_ONE_MACHINE = ("workers",)
"""Fields of an experiment that may differ from worker to worker; paths may, too."""


def connected(strategy: str) -> Workers:
    """Connects this process with the other workers, before anything else that TensorFlow does; later calls find it connected.

    Args:
        strategy: name as `build_strategy` takes it. Others than "multiworker" take no devices here.

    Raises:
        ConfigError: see `build_strategy`.
    """
    return Workers.of(build_strategy(strategy) if strategy == MULTIWORKER else tf.distribute.get_strategy())


def chief_alone(strategy: str, work: Callable[[], object]) -> object:
    """`Workers.chief_does` for those that have no run: all workers of a strategy call it.

    Raises:
        ActrecError: on the chief what `work` raised.
        TrainingError: on the others, with the words of that error; or a worker has stopped.
    """
    workers = connected(strategy)
    with workers.watched():
        return workers.chief_does(work)


def check_same_run(workers: Workers, dataset: ActionDataset, experiment: Experiment | VideoExperiment) -> None:
    """Refuses workers that were started with other options, or see other clips, before anything is written.

    Paths may differ from machine to machine, and so may the number of processes of the extraction.

    Raises:
        ConfigError: names what differs, see `Workers.check_same`.
    """
    if workers.count == 1:
        return
    fields = {name: value for name, value in asdict(experiment).items() if name not in _OF_ONE_MACHINE}
    options = json.loads(json.dumps(fields, default=lambda value: "a path" if isinstance(value, Path) else repr(value)))
    clips = " ".join(f"{record.clip_id}={record.label}" for record in dataset.records)
    digest = hashlib.sha256(clips.encode()).hexdigest()[:12]
    workers.check_same({**flatten(options), "data set": f"{dataset.name}, {len(dataset.records)} clips, {digest}"})


def whole_report(workers: Workers, report: ExtractionReport, clip_ids: Collection[str]) -> ExtractionReport:
    """Waits until all workers have written their shares of a cache.

    Args:
        workers: who writes it.
        report: of this worker's share.
        clip_ids: clips of the run.

    Returns:
        The report with the clips of all shares that were left out.

    Raises:
        CacheError: shards of other workers are not there: they wrote them elsewhere.
    """
    if workers.count == 1:
        return report
    workers.wait()
    until = time.monotonic() + _SETTLE_SECONDS
    while (cache := _opened(report.directory)).missing_shards and time.monotonic() < until:
        time.sleep(1)
    if cache.missing_shards:
        raise CacheError(
            f"the cache is not complete, though all {workers.count} workers have written their shares", file=report.directory,
            found=f"{len(cache.missing_shards)} shards are missing here", expected="one folder that all workers see",
            fix=SHARED_DISK,
        )  # fmt: skip
    asked = set(clip_ids)
    return replace(report, left_out=tuple(entry for entry in cache.left_out if entry.clip_id in asked))


def _opened(directory: Path) -> CacheReader:
    with CacheReader(directory, allow_incomplete=True) as cache:
        return cache
