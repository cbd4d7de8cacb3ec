"""Testing: one score per class from the K test rows of each clip, by mean or maximum, for every stream from one pass."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import keras
import numpy as np
import tensorflow as tf

from keras_actrec.errors import ConfigError, WeightsError
from keras_actrec.files import whole_file
from keras_actrec.pipelines.tf_data import BatchSource, LoaderErrors, clips_per_batch, evaluation_dataset, steps_per_epoch
from keras_actrec.training import metrics
from keras_actrec.training.attention import attention_summaries
from keras_actrec.training.multiworker import predict_workers
from keras_actrec.training.workers import Workers

STREAMS: Mapping[str, str] = MappingProxyType({"pose": "pose_logits", "rgb": "rgb_logits", "fused": "logits"})
POOLINGS = ("mean", "max")
_SCORES, _ATTENTION = "scores_", "attention_"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of the tested clips, and the numbers that follow from them.

    Attributes:
        clip_ids: the n tested clips.
        labels: int32 (n,), their classes.
        scores: stream ("pose", "rgb", "fused") → float32 (n, classes), pooled over the sub-sequences: logits averaged, or
            the highest of softmax scores, whose rows then do not sum to 1.
        subsequences: sub-sequences per clip, K.
        pooling: how, "mean" or "max".
        attention: name → float32 (n, …): what the network attended to, mean over the sub-sequences of a clip; see
            `keras_actrec.training.attention.attention_summaries`. Empty without attention, and for scores read from a file.

    Raises:
        ConfigError: the arrays do not fit each other, or an unknown pooling.
    """

    clip_ids: tuple[str, ...]
    labels: np.ndarray
    scores: Mapping[str, np.ndarray]
    subsequences: int
    pooling: str = "mean"
    attention: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        _check_pooling(self.pooling)
        for stream, scores in self.scores.items():
            if scores.ndim != 2 or not len(scores) == len(self.labels) == len(self.clip_ids):
                raise ConfigError(
                    f"the scores of stream {stream} do not fit the clips",
                    found=f"scores {scores.shape}, labels {self.labels.shape}",
                    expected=f"one row and one label for each of {len(self.clip_ids)} clips",
                )

    @property
    def accuracy(self) -> dict[str, float]:
        """Stream → top-1 accuracy."""
        return {stream: metrics.accuracy(self.confusion_matrix(stream)) for stream in self.scores}

    @property
    def mean_class_accuracy(self) -> dict[str, float]:
        """Stream → mean of the accuracies of the classes that have clips."""
        return {stream: metrics.mean_class_accuracy(self.confusion_matrix(stream)) for stream in self.scores}

    @property
    def macro_f1(self) -> dict[str, float]:
        """Stream → mean F1 over classes."""
        return {stream: metrics.macro_f1(self.confusion_matrix(stream)) for stream in self.scores}

    def predictions(self, stream: str) -> np.ndarray:
        """Class of the highest score, int64 (n,)."""
        return self.scores[stream].argmax(axis=1)

    def confusion_matrix(self, stream: str) -> np.ndarray:
        """int64 (classes, classes): rows are true classes, columns predicted ones."""
        return metrics.confusion_matrix(self.labels, self.predictions(stream), self.scores[stream].shape[1])

    def per_class_accuracy(self, stream: str) -> np.ndarray:
        """float64 (classes,); NaN for classes without clips."""
        return metrics.per_class_accuracy(self.confusion_matrix(stream))


def evaluate(
    model: keras.Model,
    source: BatchSource,
    clip_ids: Sequence[str],
    *,
    streams: Mapping[str, str] = STREAMS,
    batch_rows: int = 80,
    pooling: str = "mean",
) -> Evaluation:
    """Tests a model on all sub-sequences of some clips, in one pass for all streams (STA-Hands and VPN, section 4).

    The same pass notes what the network attended to. Of a clip that is also tested mirrored, or with its people the other way
    round, the rows of its plain view count there, in which a hand is the hand that it says.

    Args:
        model: a model with a dict of outputs, built under the strategy that is to run it.
        source: where the test sub-sequences come from; it is asked for the model's inputs only.
        clip_ids: clips to test.
        streams: name in the result → name of the output. Those that the model has are scored; an output that is another
            stream's too (`logits` of a model with one stream) counts once.
        batch_rows: about how many sub-sequences go through the model at once; memory is bounded by it (an 80-row batch of
            hand features is 52 MB).
        pooling: of the rows of a clip: "mean", for logits, or "max", per class the highest value, for softmax scores ("The
            final classification is obtained by max-pooling the softmax scores", VPN, section 4.1).

    Raises:
        ConfigError: no clips, the model has none of the outputs, or an unknown pooling.
        TrainingError: one of several workers, which share the work, has stopped.
        ActrecError: whatever the source raises.
    """
    _check_pooling(pooling)
    outputs = _scored_outputs(model, streams)
    strategy = model.distribute_strategy
    clips = clips_per_batch(source, batch_rows, strategy.num_replicas_in_sync)
    with strategy.scope():
        summaries = {f"{_ATTENTION}{name}": tensor for name, tensor in attention_summaries(model).items()}
        scorer = keras.Model(model.input, {**outputs, **summaries})
    workers = Workers.of(strategy)
    with workers.watched(), LoaderErrors() as errors:
        batches = evaluation_dataset(
            source.select(tuple(model.input)), clip_ids, clips_per_batch=clips, errors=errors,
            worker=(workers.index, workers.count),
        ).map(lambda inputs, labels, weights: inputs)  # fmt: skip
        if workers.count > 1:
            found = predict_workers(scorer, batches, workers=workers, steps=steps_per_epoch(len(clip_ids), clips))
        else:
            found = scorer.predict(batches, verbose=1 if sys.stdout.isatty() else 2)
        rows = min(len(array) for array in found.values())
        if rows < len(clip_ids) * source.test_rows:  # see EveryBatch
            raise tf.errors.DataLossError(None, None, f"the test ended early: {rows} rows of {len(clip_ids)} clips")
    return Evaluation(
        clip_ids=tuple(clip_ids),
        labels=np.array([source.label(clip) for clip in clip_ids], np.int32),
        scores={stream: _pooled(found[stream], len(clip_ids), source.test_rows, pooling) for stream in outputs},
        subsequences=source.test_rows,
        pooling=pooling,
        attention={name.removeprefix(_ATTENTION): _mean_of_plain(found[name], len(clip_ids), source) for name in summaries},
    )


def _check_pooling(pooling: str) -> None:
    if pooling not in POOLINGS:
        raise ConfigError("unknown pooling of test rows", found=repr(pooling), expected=f"one of {', '.join(POOLINGS)}")


def _scored_outputs(model: keras.Model, streams: Mapping[str, str]) -> dict[str, keras.KerasTensor]:
    chosen = {}
    for stream, name in streams.items():
        tensor = model.output.get(name)
        if tensor is not None and all(tensor is not other for other in chosen.values()):
            chosen[stream] = tensor
    if not chosen:
        raise ConfigError(
            f"model {model.name} has no output to score",
            found=", ".join(model.output),
            expected=f"one of {', '.join(streams.values())}",
        )
    return chosen


def _pooled(values: np.ndarray, clips: int, rows: int, pooling: str) -> np.ndarray:
    """(padded clips · rows, classes) → float32 (clips, classes); padding is cut off."""
    values = values[: clips * rows].reshape(clips, rows, -1)
    return values.max(axis=1).astype(np.float32) if pooling == "max" else values.mean(axis=1, dtype=np.float32)


def _mean_of_plain(values: np.ndarray, clips: int, source: BatchSource) -> np.ndarray:
    """(padded clips · rows, …) → float32 (clips, …), the mean over the rows that show a clip as it is."""
    rows = source.test_rows
    plain = getattr(source, "plain_rows", rows)
    values = values[: clips * rows].reshape(clips, rows, *values.shape[1:])
    return values[:, :plain].mean(axis=1, dtype=np.float32)


def save_scores(path: str | Path, evaluation: Evaluation) -> None:
    """Writes the scores as `.npz` without pickle, for late fusion with other models: clip_ids, labels, subsequences,
    pooling, scores_<stream>.

    Raises:
        DiskFullError: no space left.
    """
    scores = {f"{_SCORES}{stream}": array for stream, array in evaluation.scores.items()}
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(
            file,
            clip_ids=np.array(evaluation.clip_ids, dtype=np.str_),
            labels=evaluation.labels,
            subsequences=np.int64(evaluation.subsequences),
            pooling=np.str_(evaluation.pooling),
            **scores,
        )


def load_scores(path: str | Path) -> Evaluation:
    """Reads a file that `save_scores` wrote.

    Raises:
        WeightsError: the file is damaged or holds no scores.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            scores = {name.removeprefix(_SCORES): file[name] for name in file.files if name.startswith(_SCORES)}
            clip_ids = tuple(str(clip) for clip in file["clip_ids"])
            pooling = str(file["pooling"]) if "pooling" in file.files else "mean"  # files of earlier versions lack it
            return Evaluation(clip_ids, file["labels"], scores, int(file["subsequences"]), pooling)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise WeightsError("cannot be read as scores", file=path, found=error, fix="run the test again") from error
