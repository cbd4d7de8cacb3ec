"""The files whose parsing is measured are such as the data set's own."""

from __future__ import annotations

import re

import numpy as np
import pytest
from suite.skeleton_parsing import FRAMES, clip_names, write_skeletons

from keras_actrec.datasets.ntu import NTURGBD
from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton


@pytest.mark.parametrize("bodies", [1, 2])
def test_files_read_and_have_real_numbers_in_every_column(tmp_path, bodies):
    paths = write_skeletons(tmp_path, 2, bodies=bodies)
    for path in paths:
        sequence = read_ntu_skeleton(path)
        assert sequence.joints.shape == (FRAMES, bodies, 25, 3) and np.isfinite(sequence.joints).all()
        joint_lines = [line for line in path.read_text().splitlines() if len(line.split()) == 12]
        assert len(joint_lines) == FRAMES * bodies * 25
        assert not any(re.search(r"(^| )0( |$)", line) for line in joint_lines)
    assert paths[0].read_bytes() != paths[1].read_bytes()


def test_names_are_different_and_known_to_the_data_set(tmp_path):
    names = list(clip_names())
    assert len(set(names)) == len(names) == 2880
    write_skeletons(tmp_path, 6, frames=2)
    dataset = NTURGBD(tmp_path, modality="skeleton")
    assert len(dataset.records) + len(dataset.left_out) == 6 and len(dataset.records) >= 5
