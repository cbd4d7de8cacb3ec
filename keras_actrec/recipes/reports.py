"""What a run of any model leaves behind: metrics, scores, attention, pictures, and a page that shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keras_actrec.datasets.record import LeftOut
from keras_actrec.recipes.report_page import ATTENTION, leave_report
from keras_actrec.training.attention import attention_by_class, save_attention
from keras_actrec.training.evaluation import Evaluation, save_scores
from keras_actrec.training.results import RunDescription, write_metrics
from keras_actrec.training.stages import StageHistory
from keras_actrec.visualize.plots import confusion_matrix_png, curves_png

Extra = Callable[[Evaluation], Mapping[str, object]]


@dataclass(frozen=True, eq=False)
class ExperimentResult:
    """What a run found and where it left it.

    Attributes:
        metrics: content of metrics.json.
        evaluation: scores of the test clips.
        left_out: clips that were not used.
        export: directory of the SavedModel.
    """

    metrics: Mapping[str, object]
    evaluation: Evaluation
    left_out: tuple[LeftOut, ...]
    export: Path


def write_results(
    workdir: Path,
    run: RunDescription,
    evaluation: Evaluation,
    class_names: Sequence[str],
    left_out: tuple[LeftOut, ...],
    histories: Sequence[StageHistory],
    *,
    configuration: Mapping[str, object],
    seconds: float,
    extra: Mapping[str, object],
) -> dict[str, object]:
    """Writes what every model's run leaves: metrics.json, scores.npz, a confusion matrix per stream, the learning curves,
    attention.npz where the network has attention, and report.html over all of them and left_out.csv.

    Args:
        workdir: folder to write into.
        run: what was tested.
        evaluation: its scores.
        class_names: in the order of the scores.
        left_out: clips that were not used.
        histories: the stages of the training, in order.
        configuration: every option that decided the result.
        seconds: duration of the run.
        extra: further numbers for metrics.json.

    Returns:
        The content of metrics.json.

    Raises:
        DiskFullError: no space left.
    """
    stages = [
        {"name": history.weights.parent.name, "epochs": len(history.epochs), "best_epoch": history.best_epoch}
        for history in histories
    ]
    extra = {"stages": stages, "seconds": round(seconds, 1), "configuration": configuration, **extra}
    metrics = write_metrics(workdir / "metrics.json", run, evaluation, class_names, left_out, extra=extra)
    save_scores(workdir / "scores.npz", evaluation)
    for stream in evaluation.scores:
        confusion_matrix_png(evaluation.confusion_matrix(stream), class_names, workdir / f"confusion_{stream}.png")
    curves_png({history.weights.parent.name: history.csv for history in histories}, workdir / "curves.png")
    (workdir / ATTENTION).unlink(missing_ok=True)  # of an earlier run
    if evaluation.attention:
        save_attention(workdir / ATTENTION, attention_by_class(evaluation.attention, evaluation.labels, len(class_names)))
    leave_report(workdir)
    return metrics
