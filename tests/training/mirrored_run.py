"""Run by test_strategies.py in a process of its own: the CPU is split before TensorFlow starts. Prints one line of JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace

from keras_actrec.errors import ActrecError, CacheError
from keras_actrec.training.strategies import build_strategy, logical_cpus


def main(strategy_name: str) -> dict:
    """Trains and tests under a strategy; on two devices also resumes, and collects refusals."""
    strategy = build_strategy("mirrored", devices=logical_cpus(2)) if strategy_name == "mirrored" else build_strategy("none")

    from keras_actrec.training.checkpoints import arrays_of
    from keras_actrec.training.config import StageConfig
    from keras_actrec.training.evaluation import evaluate
    from keras_actrec.training.stages import run_stage
    from tests.training.tiny import (
        JointSource,
        MemorySource,
        tiny_attention_model,
        tiny_glimpse_model,
        tiny_glimpse_objective,
        tiny_model,
        tiny_objective,
    )

    # 8 clips in batches of 8: an epoch is a step, and its loss is that step's.
    source, config = MemorySource(), StageConfig("rgb", learning_rate=1e-2, batch_size=8, epochs=4)
    train, held_out, test = source.clip_ids[:8], source.clip_ids[8:13], source.clip_ids[13:]

    def stage(workdir, *, dropout, source=source, config=config, resume=False):
        with strategy.scope():
            model, _, stream = tiny_model(dropout=dropout, norm=False)
        history = run_stage(model, stream, source, train, held_out, config, workdir, strategy=strategy, resume=resume)
        return model, history

    def objective_stage(workdir, *, source=source, config=config, dropout=0.0, resume=False):
        with strategy.scope():
            model = tiny_attention_model(dropout=dropout, norm=False)
        history = run_stage(
            model, model, source, train, held_out, config, workdir,
            strategy=strategy, objective=tiny_objective(), resume=resume,
        )  # fmt: skip
        return model, history

    def target_stage(workdir, config):
        with strategy.scope():
            model = tiny_glimpse_model(dropout=0.0)
        return run_stage(
            model, model, JointSource(), train, held_out, config, workdir,
            strategy=strategy, objective=tiny_glimpse_objective(),
        )  # fmt: skip

    def difference(one, other):
        pairs = zip(arrays_of(one.weights), arrays_of(other.weights), strict=True)
        return max(float(abs(a - b).max()) for a, b in pairs)

    steps = replace(config, name="vpn", optimizer="sgd", schedule="step", step_epochs=2)
    with tempfile.TemporaryDirectory() as folder:
        model, history = stage(f"{folder}/a", dropout=0.0)
        evaluation = evaluate(model, source, test, batch_rows=8)
        result = {
            "replicas": strategy.num_replicas_in_sync,
            "epochs": history.epochs,
            "accuracy": evaluation.accuracy,
            "scores": {stream: scores.tolist() for stream, scores in evaluation.scores.items()},
            "objective_epochs": objective_stage(f"{folder}/objective", config=steps)[1].epochs,
            "target_epochs": target_stage(f"{folder}/targets", replace(steps, weight_decay=0.5, decay="coupled")).epochs,
        }
        if strategy_name == "mirrored":
            short = replace(config, epochs=3, schedule="cosine", warmup_epochs=1, label_smoothing=0.1)
            whole, _ = stage(f"{folder}/b", dropout=0.5, config=short)
            failing = MemorySource(fail_at=(0, 2, 0), failure=CacheError("stop"))
            try:
                stage(f"{folder}/c", dropout=0.5, source=failing, config=short)
            except CacheError:
                resumed, _ = stage(f"{folder}/c", dropout=0.5, config=short, resume=True)
            result["resumed_difference"] = difference(whole, resumed)
            whole, _ = objective_stage(f"{folder}/e", dropout=0.5, config=steps)
            failing = MemorySource(fail_at=(0, 3, 0), failure=CacheError("stop"))
            try:
                objective_stage(f"{folder}/f", dropout=0.5, source=failing, config=steps)
            except CacheError:
                resumed, _ = objective_stage(f"{folder}/f", dropout=0.5, config=steps, resume=True)
            result["resumed_objective_difference"] = difference(whole, resumed)
            for key, options in (("odd_batch", {"batch_size": 7}), ("xla", {"batch_size": 8, "jit_compile": True})):
                try:
                    stage(f"{folder}/d", dropout=0.0, config=StageConfig("rgb", **options))
                except ActrecError as error:
                    result[key] = str(error)
    return result


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
