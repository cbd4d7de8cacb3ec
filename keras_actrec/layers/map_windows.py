"""All places of a feature map where a smaller window fits, for networks that are tested fully convolutionally in space.

Paper: Das et al., "VPN: Learning Video-Pose Embedding for Activities of Daily Living", ECCV 2020, section 4.1 ("Inference").
"""

from __future__ import annotations

import keras
from keras import ops

from keras_actrec.errors import ConfigError


@keras.saving.register_keras_serializable(package="keras_actrec")
class MapWindows(keras.layers.Layer):
    """Cuts a map over time and space into windows of one spatial size, at stride 1, row by row.

    A map of exactly that size is its own, only window, as in training.

    Args:
        height, width: size of a window in cells of the map.

    Call arguments:
        maps: (B, t, H, W, c); H and W have to be known when the layer is built.

    Returns:
        (B, n, t, height, width, c), n = (H - height + 1) · (W - width + 1); window i is the one whose upper left cell is
        (i // (W - width + 1), i % (W - width + 1)).

    Raises:
        ConfigError: a size below 1, a map of unknown or wrong shape, or one that is smaller than the window.
    """

    def __init__(self, height: int, width: int, *, trainable: bool = True, name: str | None = None, dtype=None):
        super().__init__(trainable=trainable, name=name, dtype=dtype)
        for side, value in (("height", height), ("width", width)):
            if value < 1:
                raise ConfigError(f"MapWindows: {side} has to be positive", found=value, fix="give at least 1")
        self.height = height
        self.width = width

    def build(self, maps_shape):
        if len(maps_shape) != 5 or None in maps_shape[2:4]:
            raise ConfigError(
                "MapWindows: height and width of `maps` have to be known",
                found=tuple(maps_shape),
                expected="(batch, time, height, width, channels)",
                fix="give keras.Input the full shape of the maps",
            )
        if maps_shape[2] < self.height or maps_shape[3] < self.width:
            raise ConfigError(
                "MapWindows: the map is smaller than the window",
                found=f"{maps_shape[2]} x {maps_shape[3]}",
                expected=f"at least {self.height} x {self.width}",
                fix="give the backbone larger images",
            )

    def call(self, maps):
        rows = range(maps.shape[2] - self.height + 1)
        columns = range(maps.shape[3] - self.width + 1)
        windows = [maps[:, :, y : y + self.height, x : x + self.width] for y in rows for x in columns]
        return ops.stack(windows, axis=1)

    def get_config(self):
        return {**super().get_config(), "height": self.height, "width": self.width}
