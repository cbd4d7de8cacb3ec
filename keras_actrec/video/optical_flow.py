"""Optical flow of a video as pictures: computed between neighbouring frames, quantised to bytes, stacked for a network.

Sources: "RPAN: An End-to-End Recurrent Pose-Attention Network for Action Recognition in Videos" (Du, Wang, Qiao), section 4.1:
the second stream takes stacked optical flow, as TSN does. "Temporal Segment Networks: Towards Good Practices for Deep Action
Recognition" (Wang, Xiong, Wang, Qiao, Lin, Tang, Van Gool), sections 3.2 and 4.1: TV-L1 flow, linearly discretised to 0..255;
its published code bounds it to 20 pixels and stacks 5 frames of it, x before y of each. The default here is DIS ("Fast Optical
Flow using Dense Inverse Search", Kroeger, Timofte, Dai, Van Gool), which every OpenCV has and which is faster by far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from keras_actrec.errors import ConfigError
from keras_actrec.video.rescale import resize_frame

METHODS = ("dis", "tvl1")
PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
"""OpenCV's settings of DIS by name."""

PLANES = 10
"""Planes of a stack: x and y of 5 flow fields, as TSN's flow network takes them."""

_SMALLEST = 32
"""Side of the least picture: below, the presets "fast" and "ultrafast" begin at a scale at which nothing of a long one is left
and OpenCV 5.0 reads outside of its memory."""


@dataclass(frozen=True)
class FlowConfig:
    """How optical flow is computed and stored.

    Attributes:
        method: "dis", or "tvl1" as in the papers, which needs the package opencv-contrib-python.
        picture_size: (height, width) that frames are resized to, without keeping proportions, before anything is computed: flow
            is in pixels of these pictures. (240, 320) for JHMDB, (270, 480) for Penn Action in RPAN's section 4.1.
        bound: displacement in pixels that becomes 0 or 255; what is greater is cut. 20 in TSN's code.
        preset: of DIS, one of `PRESETS`; no part in "tvl1".

    Raises:
        ConfigError: a value makes no sense.
    """

    method: str = "dis"
    picture_size: tuple[int, int] = (240, 320)
    bound: float = 20.0
    preset: str = "medium"

    def __post_init__(self):
        if self.method not in METHODS:
            raise ConfigError(
                "unknown method of optical flow", found=repr(self.method), expected=" or ".join(map(repr, METHODS))
            )
        size = self.picture_size
        if len(size) != 2 or not all(isinstance(side, int) and side >= _SMALLEST for side in size):
            expected = f"(height, width), integers of at least {_SMALLEST}"
            raise ConfigError("the size of the pictures makes no sense", found=size, expected=expected)
        if not 0 < self.bound < np.inf:
            raise ConfigError("the bound of optical flow is a positive number of pixels", found=self.bound)
        if self.preset not in PRESETS:
            raise ConfigError("unknown preset of DIS", found=repr(self.preset), expected=f"one of {', '.join(PRESETS)}")


_FLOW = FlowConfig()


def flow_method(config: FlowConfig) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The function that computes flow: (picture, next picture), grey uint8 (H, W) → float32 (H, W, 2), (x, y) in pixels.

    What is at p in the first picture is at p + flow(p) in the second: x counts to the right, y down.

    Raises:
        ConfigError: this OpenCV has no TV-L1.
    """
    if config.method == "dis":
        algorithm = cv2.DISOpticalFlow_create(PRESETS[config.preset])
    elif hasattr(cv2, "optflow"):
        algorithm = cv2.optflow.DualTVL1OpticalFlow_create()
    else:
        raise ConfigError(
            "TV-L1 is not part of this OpenCV", found=f"OpenCV {cv2.__version__} without its module optflow",
            expected="opencv-contrib-python",
            fix="put opencv-contrib-python in the place of opencv-python (pip), or take the method dis",
        )  # fmt: skip
    return lambda picture, following: algorithm.calc(picture, following, None)


def flow_frames(frames: Iterator[np.ndarray], config: FlowConfig = _FLOW) -> Iterator[np.ndarray]:
    """Optical flow of a video, one frame of flow per frame of the video.

    Frame t is the flow from t to t + 1; the last one, which has no next frame, repeats the one before. A video of a single
    frame stands still. Bytes are round(255 · (v + bound) / (2 · bound)), cut to 0..255, as TSN's code stores them: rest is 128.

    Args:
        frames: BGR uint8 (h, w, 3), in order, of any size.
        config: how.

    Yields:
        uint8 (H, W, 2), x and y; as many as there are frames. Only the last two pictures are in memory.

    Raises:
        ConfigError: this OpenCV has no TV-L1.
    """
    method = flow_method(config)
    height, width = config.picture_size
    previous: np.ndarray | None = None
    flow = quantized(np.zeros((height, width, 2), np.float32), config.bound)
    for frame in frames:
        picture = resize_frame(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), width, height)
        if previous is not None:
            flow = quantized(method(previous, picture), config.bound)
            yield flow
        previous = picture
    if previous is not None:
        yield flow.copy()


def quantized(flow: np.ndarray, bound: float) -> np.ndarray:
    """Flow as bytes. flow: float (..., 2) in pixels → uint8 of that shape, see `flow_frames`."""
    # Written so that rest is 127.5 before rounding whatever the bound, and so 128: halves go to the even number, as in OpenCV.
    return np.clip(np.rint(flow * (127.5 / bound) + 127.5), 0, 255).astype(np.uint8)


def flow_stacks(flow: np.ndarray, starts: np.ndarray, planes: int = PLANES) -> np.ndarray:
    """Stacks of neighbouring frames of flow: what a flow network takes for one picture.

    Args:
        flow: uint8 (T, H, W, 2), a whole clip as `flow_frames` gives it.
        starts: int (n,), first frame of each stack, in any order.
        planes: of a stack, even; 10 are 5 frames of flow.

    Returns:
        uint8 (n, H, W, planes): x, y of frame t, x, y of frame t + 1, …; after the end of the clip its last frame again.

    Raises:
        ConfigError: no such frame, or the shapes make no sense.
    """
    if flow.ndim != 4 or flow.shape[3] != 2:
        raise ConfigError("flow of another shape", found=flow.shape, expected="(T, H, W, 2)")
    starts = np.asarray(starts)
    if starts.ndim != 1 or starts.dtype.kind not in "iu" or ((starts < 0) | (starts >= len(flow))).any():
        raise ConfigError("stacks begin at frames of the clip", found=starts, expected=f"integers (n,) in 0..{len(flow) - 1}")
    stacks = flow[stack_frames(starts, len(flow), planes)]
    return np.ascontiguousarray(np.moveaxis(stacks, 1, 3)).reshape(len(starts), *flow.shape[1:3], planes)


def stack_frames(starts: np.ndarray, length: int, planes: int = PLANES) -> np.ndarray:
    """Frames of flow of which stacks are made: int64 (n, planes / 2), the last frame again where the clip of `length` ends.

    Raises:
        ConfigError: the number of planes is odd or not positive.
    """
    if planes < 2 or planes % 2:
        raise ConfigError("a stack has an even number of planes: x and y of each frame of flow", found=planes)
    return np.minimum(np.asarray(starts, np.int64)[:, None] + np.arange(planes // 2), length - 1)


def mirrored_stacks(stacks: np.ndarray) -> np.ndarray:
    """Stacks of the mirrored video: columns in reverse order, and the x planes 255 - v, as what moved right now moves left.

    Rest, 128 in x planes, becomes 127: half a step to the other side of zero, as in TSN's code.

    Args:
        stacks: uint8 (..., H, W, planes), x planes first, third, ….

    Returns:
        uint8 of that shape, a copy.
    """
    result = stacks[..., ::-1, :].copy()
    np.subtract(255, result[..., ::2], out=result[..., ::2])
    return result
