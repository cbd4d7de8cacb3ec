from __future__ import annotations

import numpy as np
import pytest

from keras_actrec.datasets.ntu_skeleton import read_ntu_skeleton
from keras_actrec.errors import ConfigError, SkeletonFormatError
from keras_actrec.skeletons.cleaning import CleaningConfig, clean
from keras_actrec.skeletons.layout import KINECT_V2
from keras_actrec.skeletons.sequence import SkeletonSequence
from tests.skeletons.bodies import only, person, table

FRAMES = 60


def sequence(*bodies: np.ndarray, **others) -> SkeletonSequence:
    """Bodies with the ids 10, 11, …"""
    return SkeletonSequence(np.stack(bodies, axis=1), KINECT_V2, body_ids=tuple(range(10, 10 + len(bodies))), **others)


def reasons(report) -> dict[int, str]:
    return {body.body_id: body.reason for body in report.bodies_dropped}


def test_one_person_stays_as_it_is_and_the_second_slot_is_empty():
    body = person(FRAMES)
    cleaned, report = clean(sequence(body))
    assert cleaned.joints.shape == (FRAMES, 2, 25, 3) and cleaned.body_ids == (10, -1)
    np.testing.assert_array_equal(cleaned.joints[:, 0], body)
    assert np.isnan(cleaned.joints[:, 1]).all()
    assert (report.bodies_found, report.people, report.bodies_dropped, report.linked) == (1, 1, (), ())
    assert (report.frames_interpolated, report.frames_missing) == ((0,), (0,))


def test_people_are_ordered_by_motion():
    still, waving = person(FRAMES, x=-0.5), person(FRAMES, x=0.5, waving=0.4)
    assert clean(sequence(still, waving))[0].body_ids == (11, 10)
    assert clean(sequence(waving, still))[0].body_ids == (10, 11)


def test_a_person_who_stands_still_is_no_false_body():
    # 25 joints jitter by 0.2 mm: 75 · 0.0002² = 3e-6 m², far below the motion of the one who waves.
    _, report = clean(sequence(person(FRAMES, x=-0.5, noise=0.0002), person(FRAMES, x=0.5, waving=0.4)))
    assert report.people == 2 and report.bodies_dropped == ()


def test_furniture_goes_for_its_width():
    # 0.54 m wide and 0.16 m high: 0.54 > 0.8 · 0.16 in every frame.
    cleaned, report = clean(sequence(table(FRAMES), person(FRAMES, waving=0.4)))
    assert cleaned.body_ids == (11, -1)
    assert reasons(report) == {10: "too wide for its height in 100% of its frames"}


def test_low_furniture_that_is_narrow_goes_because_it_hardly_moves():
    stool = table(FRAMES) * np.float32((0.2, 1, 1))  # 0.11 m wide, 0.16 m high
    cleaned, report = clean(sequence(stool, person(FRAMES, waving=0.4)))
    assert cleaned.body_ids == (11, -1)
    assert "hardly moves" in reasons(report)[10]


def test_a_person_with_spread_arms_for_a_third_of_the_clip_stays():
    body = person(FRAMES)
    body[:20, [7, 21]] += np.float32((1.2, 0, 0))
    assert clean(sequence(body, person(FRAMES, x=1, waving=0.4)))[1].people == 2


def test_short_lived_bodies_go():
    flash = only(person(FRAMES, x=1.5, waving=0.4), 20, 31)  # 11 frames, as in NTU's usual denoising
    cleaned, report = clean(sequence(person(FRAMES), flash))
    assert cleaned.body_ids == (10, -1)
    assert reasons(report) == {11: "too short-lived: 11 frames, at least 12 expected"}
    assert clean(sequence(person(FRAMES), only(person(FRAMES, x=1.5), 20, 32)))[1].people == 2


def test_in_short_clips_half_of_the_frames_is_enough():
    assert clean(sequence(person(8), only(person(8, x=1), 0, 4)))[1].people == 2
    assert clean(sequence(person(8), only(person(8, x=1), 0, 3)))[1].people == 1
    assert clean(sequence(person(1)))[1].people == 1


def test_the_longest_lived_stays_where_every_body_looks_false():
    cleaned, report = clean(sequence(only(table(FRAMES), 0, 30), table(FRAMES, x=-1), only(person(FRAMES, x=3), 50, 55)))
    assert cleaned.body_ids == (11, -1)
    assert set(reasons(report)) == {10, 12}


def test_of_three_people_the_two_who_move_most_stay():
    cleaned, report = clean(sequence(person(FRAMES, waving=0.2), person(FRAMES, x=1), person(FRAMES, x=2, waving=0.4)))
    assert cleaned.body_ids == (12, 10)
    assert "than the 2 people" in reasons(report)[11]


def test_bodies_of_zeros_are_no_bodies():
    zeros = np.zeros((FRAMES, 25, 3), np.float32)
    cleaned, report = clean(sequence(zeros, person(FRAMES)))
    assert report.bodies_found == 1 and cleaned.body_ids == (11, -1)


def test_a_person_whose_id_changes_is_linked_and_the_gap_filled():
    body = person(FRAMES, waving=0.4)
    cleaned, report = clean(sequence(only(body, 0, 28), only(body, 31, FRAMES)))
    assert report.linked == ((10, 11),)
    assert (report.people, report.frames_interpolated, report.frames_missing) == (1, (3,), (0,))
    np.testing.assert_array_equal(cleaned.joints[:28, 0], body[:28])
    np.testing.assert_array_equal(cleaned.joints[31:, 0], body[31:])
    # Frame 29 is half way between 27 and 31.
    np.testing.assert_allclose(cleaned.joints[29, 0], (body[27] + body[31]) / 2, atol=1e-6)


def test_chains_of_three_tracks_are_one_person():
    body = person(FRAMES)
    cleaned, report = clean(sequence(only(body, 40, FRAMES), only(body, 0, 20), only(body, 20, 40)))
    assert report.linked == ((11, 12), (12, 10)) and cleaned.body_ids == (11, -1)
    np.testing.assert_array_equal(cleaned.joints[:, 0], body)


@pytest.mark.parametrize(
    ("x", "start", "stop"), [(0.6, 30, FRAMES), (0, 46, FRAMES), (0, 25, FRAMES)], ids=["too far", "too late", "overlap"]
)
def test_tracks_that_cannot_be_one_person_are_not_linked(x, start, stop):
    _, report = clean(sequence(only(person(FRAMES), 0, 30), only(person(FRAMES, x=x), start, stop)))
    assert report.linked == () and report.people == 2


def test_long_gaps_and_ends_stay_unknown():
    body = only(person(FRAMES), 5, FRAMES)
    body[20:31] = np.nan  # 11 frames: one more than max_gap
    cleaned, report = clean(sequence(body))
    assert (report.frames_interpolated, report.frames_missing) == ((0,), (16,))
    np.testing.assert_array_equal(cleaned.joints[:, 0], body)
    cleaned, report = clean(sequence(body), CleaningConfig(max_gap=11))
    assert (report.frames_interpolated, report.frames_missing) == ((11,), (5,))


def test_pixels_and_tracking_follow_the_joints():
    body = person(10)
    body[4, 7] = np.nan
    pixels = np.zeros((10, 1, 25, 2), np.float32)
    pixels[..., 0] = 100 * np.arange(10)[:, None, None]
    pixels[4, 0, 7] = np.nan
    cleaned, report = clean(sequence(body, pixels=pixels, tracking=np.full((10, 1, 25), 2, np.uint8)))
    assert report.frames_interpolated == (1,)
    np.testing.assert_allclose(cleaned.joints[4, 0, 7], (body[3, 7] + body[5, 7]) / 2, atol=1e-6)
    np.testing.assert_array_equal(cleaned.pixels[4, 0, 7], (400, 0))
    assert cleaned.tracking[4, 0, 7] == 1 and (cleaned.tracking[:, 0] == 2).sum() == 10 * 25 - 1
    assert np.isnan(cleaned.pixels[:, 1]).all() and not cleaned.tracking[:, 1].any()


def test_the_callers_arrays_do_not_change():
    body = person(FRAMES)
    body[10:12] = np.nan
    raw = sequence(body, np.zeros((FRAMES, 25, 3), np.float32))
    before = raw.joints.copy()
    clean(raw)
    np.testing.assert_array_equal(raw.joints, before)


@pytest.mark.parametrize("people", [0, 1])
def test_no_body(people):
    raw = SkeletonSequence(np.full((5, people, 25, 3), np.nan, np.float32), KINECT_V2)
    with pytest.raises(SkeletonFormatError, match=r"a\.skeleton: no body in any frame .*5 frames.*Leave the clip out"):
        clean(raw, file="a.skeleton")


@pytest.mark.parametrize("wrong", [{"min_frames": -1}, {"wide_fraction": 1.5}, {"max_gap": float("nan")}], ids=str)
def test_configuration_is_checked(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        CleaningConfig(**wrong)


@pytest.mark.parametrize(
    ("clip", "people"),
    [
        ("S001C001P001R001A001", 1),
        ("S001C001P001R001A011", 1),
        ("S002C001P003R001A003", 1),
        ("S001C001P001R001A050", 2),
        ("S001C003P008R002A058", 2),
    ],
)
def test_people_of_real_clips(actrec_data, clip, people):
    raw = read_ntu_skeleton(actrec_data / "ntu_samples" / f"{clip}.skeleton")
    _, report = clean(raw)
    assert (report.bodies_found, report.people, report.bodies_dropped) == (people, people, ())
