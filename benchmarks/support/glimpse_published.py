"""Child of benchmarks/glimpse_forward.py: runs the published Glimpse Clouds code on PyTorch and times it.

"forward" and "backbone" on standard input each print the seconds of one forward pass of the batch, of the whole network or of
its backbone alone.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "reference"))
import torch
from generate_glimpse_clouds_official import build, clip


def main():
    answers, sys.stdout = sys.stdout, sys.stderr  # what that code prints is no answer
    network, images = build(Path(sys.argv[1])), clip()
    jobs = {
        "forward": lambda: network({"clip": images, "skeleton": None}),
        "backbone": lambda: network.cnn.get_feature_maps(images),
    }
    for line in sys.stdin:
        with torch.no_grad():
            start = time.perf_counter()
            jobs[line.strip()]()
            seconds = time.perf_counter() - start
        answers.write(f"{seconds}\n")
        answers.flush()


if __name__ == "__main__":
    main()
