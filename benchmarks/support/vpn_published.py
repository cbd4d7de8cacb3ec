"""Child of benchmarks/vpn_forward.py: runs the published VPN code and times it, one answer per line of input. Python 3.6.

"forward" and "step" on standard input each print the seconds of one forward pass or one training step of the batch.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "reference"))
from generate_vpn_official import CLASSES, build, inputs_of
from seeded import vpn_inputs


def main():
    sys.path.insert(0, sys.argv[1])
    batch = int(sys.argv[2])
    answers, sys.stdout = sys.stdout, sys.stderr  # what that code prints is no answer
    model, filters = build(batch)
    import numpy as np
    from keras.optimizers import SGD

    # As its train.py does.
    model.compile(
        loss={"action_output": "categorical_crossentropy", "embed_output": "mean_squared_error"},
        loss_weights={"action_output": 99.9, "embed_output": 0.1}, optimizer=SGD(lr=0.01, momentum=0.9),
    )  # fmt: skip
    inputs = inputs_of(*vpn_inputs(batch), filters)
    targets = [np.eye(CLASSES)[np.arange(batch)], np.zeros(batch)]
    jobs = {"forward": lambda: model.predict_on_batch(inputs), "step": lambda: model.train_on_batch(inputs, targets)}
    for line in sys.stdin:
        start = time.perf_counter()
        jobs[line.strip()]()
        answers.write(f"{time.perf_counter() - start}\n")
        answers.flush()


if __name__ == "__main__":
    main()
