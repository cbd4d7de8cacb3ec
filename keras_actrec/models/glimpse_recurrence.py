"""The recurrent part of Glimpse Clouds: glimpses in every frame, assigned through a memory to workers that recognise.

Paper: Baradel, Wolf, Mille, Taylor, "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points", CVPR 2018,
sections 3.2 to 4.2. Every line of the loop names its equation.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_actrec.errors import ConfigError
from keras_actrec.layers.attention import attention_dtype
from keras_actrec.layers.glimpse_sampler import pooled_glimpse
from keras_actrec.layers.soft_assignment import MahalanobisDistance, soft_assignment

_CHOICES = {
    "attention": ("sequential", "saliency", "random"),
    "pooling": ("memory", "sum"),
    "encoding": ("product", "concat"),
    "distance": ("learned", "fixed", "random"),
    "normalise_over": ("batch", "clip", "training_batch"),
}
_COUNTS = ("glimpses", "workers", "glimpse_units", "worker_units", "location_units", "memory_slots")
_SCALE_OFFSET = 3.0  # sigmoid(3) = 0.95: glimpses begin as almost the whole frame
_OFFICIAL_DECAY = 4.0  # frames; a constant of the published code
_OFFICIAL_FARTHEST = 1e5
_LOCATION_SEED = 0  # of the places that "random" looks at in use


class _Memory(NamedTuple):
    """What has been written so far: features v (B, K, D), projected; importance w (B, C, K); frame of each slot, K numbers."""

    features: list
    importance: list
    frames: list[int]


@keras.saving.register_keras_serializable(package="keras_actrec")
class GlimpseRecurrence(keras.layers.Layer):
    """Runs over T frames and G glimpses in each, with C workers.

        h_g = Ω(h_{g-1}, [z_{g-1}, r_t])                        eq. 2, a GRU over glimpses that runs on from frame to frame
        l_g = W_l [h_g, c_t]                                    eq. 3: x, y by tanh, scales by σ(· + 3)
        z_g = mean of the crop of Z_t at l_g                    eq. 1 and 4
        v_{t,g} = z_g ⊗ Λ(l_g)                                  eq. 5
        p_{t,c} from v_{t,g}, memory and its importances        eq. 9 and 10; trainable weights in the first frame
        ṽ_{t,c} = Σ_g p_{t,c,g} v_{t,g}                         eq. 8
        r_{t,c} = Ψ_c(r_{t-1,c}, ṽ_{t,c}),  r_t = Σ_c r_{t,c}    eq. 6 and 7

    With `official` it is what the published code computes: locations from the state before the glimpse, Ω fed by v, no
    gradient through crops, squared distances to all earlier frames, a decay that begins with the oldest, and workers that all
    start a step from the state of worker 0.

    Args:
        glimpses, workers: G, C.
        glimpse_units, worker_units: states of Ω and of each Ψ_c.
        location_units: hidden units of Λ, ReLU.
        memory_slots: K, feature vectors that the memory holds; not for `official`.
        temperature: α of eq. 10.
        attention: "sequential" (eq. 2 and 3), "saliency" (l = W c_t for all glimpses of a frame at once) or "random" places:
            drawn in training, the same ones for every clip in use.
        pooling: "memory" (eq. 8 to 10) or "sum" of the glimpses (Table 3), then without a memory.
        encoding: "product" (eq. 5) or "concat" of z and l.
        distance: "learned", "fixed" or "random", see `GlimpseCloudsConfig`.
        normalise_over: "batch", "clip" or "training_batch", see `GlimpseCloudsConfig`.
        align_corners: see `keras_actrec.layers.glimpse_sampler`.
        official: see above.

    Call arguments:
        maps: Z, (B, T, h, w, D); T known.
        context: c, (B, T, E).

    Returns:
        glimpses l, x, y, scale_x, scale_y, (B, T, G, 4); assignment p, (B, T, C, G); states r, (B, T, C, units); features
        v, (B, T, G, D), or D + 4 with "concat". All but the states are at least float32 whatever the dtype policy.

    Raises:
        ConfigError: an unknown choice, a number out of range, a variant that the published code does not have, or maps and
            context of unknown shapes.
    """

    def __init__(
        self,
        *,
        glimpses: int = 3,
        workers: int = 3,
        glimpse_units: int = 1024,
        worker_units: int = 512,
        location_units: int = 256,
        memory_slots: int = 8,
        temperature: float = 0.5,
        attention: str = "sequential",
        pooling: str = "memory",
        encoding: str = "product",
        distance: str = "learned",
        normalise_over: str = "training_batch",
        align_corners: bool = False,
        official: bool = False,
        trainable: bool = True,
        name: str | None = None,
        dtype=None,
    ):
        super().__init__(trainable=trainable, name=name, dtype=dtype)
        self.glimpses, self.workers = glimpses, workers
        self.glimpse_units, self.worker_units, self.location_units = glimpse_units, worker_units, location_units
        self.memory_slots, self.temperature = memory_slots, temperature
        self.attention, self.pooling, self.encoding = attention, pooling, encoding
        self.distance, self.normalise_over = distance, normalise_over
        self.align_corners, self.official = align_corners, official
        self._check_arguments()
        # Places and features are computed in at least float32: bfloat16 would round a place to 1/128, and equation 10 stretches
        # the distances of features that are almost alike, so that rounding would decide which glimpse a worker gets.
        self.precise = attention_dtype(self.compute_dtype)
        self.cell = self.locate = self.random = self.metric = None
        if attention == "sequential":
            self.cell = keras.layers.GRUCell(glimpse_units, dtype=self.dtype_policy, name="glimpse_cell")
        if attention == "random":
            self.random = keras.random.SeedGenerator(_LOCATION_SEED)
        else:
            values = 4 * glimpses if attention == "saliency" else 4
            # Zeros: first glimpses are almost the whole frame. Started far out they stay at the border, where tanh is flat.
            # Not in the published code, whose Λ of a place before tanh would then be 0, and every feature with it.
            start = "glorot_uniform" if official else "zeros"
            self.locate = keras.layers.Dense(values, kernel_initializer=start, dtype=self.precise, name="location")
        names = [f"worker{c}" for c in range(1, workers + 1)]
        self.cells = [keras.layers.GRUCell(worker_units, dtype=self.dtype_policy, name=worker) for worker in names]

    def _check_arguments(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ConfigError(f"GlimpseRecurrence: unknown {name}", found=repr(value), expected=" | ".join(choices))
        for name in _COUNTS:
            value = getattr(self, name)
            if value < 1:
                raise ConfigError(f"GlimpseRecurrence: {name} has to be positive", found=value, fix="give at least 1")
        if not self.temperature > 0:
            raise ConfigError("GlimpseRecurrence: the temperature has to be positive", found=self.temperature)
        variant = (self.attention, self.encoding, self.pooling)
        if self.official and variant != ("sequential", "product", "memory"):
            raise ConfigError(
                "GlimpseRecurrence: the published code has no such variant", found=", ".join(variant),
                expected="sequential, product, memory", fix="set official=False",
            )  # fmt: skip

    def build(self, maps_shape, context_shape):
        known = len(maps_shape) == 5 and len(context_shape) == 3 and None not in (*maps_shape[1:], *context_shape[1:])
        if not known or maps_shape[1] != context_shape[1]:
            raise ConfigError(
                "GlimpseRecurrence: maps and context have to be of known shapes and as many frames",
                found=f"{tuple(maps_shape)} and {tuple(context_shape)}", expected="(B, T, h, w, D) and (B, T, E)",
            )  # fmt: skip
        batch, frames, _, _, channels = maps_shape
        fed = channels if self.encoding == "product" else channels + 4
        if self.encoding == "product":  # Λ of eq. 5
            self.where_hidden = keras.layers.Dense(
                self.location_units, activation="relu", dtype=self.precise, name="where_hidden"
            )  # fmt: skip
            self.where = keras.layers.Dense(channels, dtype=self.precise, name="where")
            self.where_hidden.build((batch, 4))
            self.where.build((batch, self.location_units))
        if self.cell is not None:
            self.cell.build((batch, channels + self.worker_units))
            self.locate.build((batch, self.glimpse_units + context_shape[-1]))
        elif self.locate is not None:
            self.locate.build((batch, context_shape[-1]))
        for cell in self.cells:
            cell.build((batch, fed))
        if self.pooling == "memory":
            self.first = self.add_weight(
                shape=(self.workers, self.glimpses),
                initializer=keras.initializers.RandomNormal(stddev=1.0),
                autocast=False,
                name="first_attention",
            )
            if frames > 1:
                self.metric = MahalanobisDistance(
                    trainable=self.distance != "fixed", squared=self.official,
                    maximum=_OFFICIAL_FARTHEST if self.official else None, dtype=self.dtype_policy, name="distance",
                )  # fmt: skip
                self.metric.build((batch, None, fed), (batch, None, fed))
        self.built = True

    def call(self, maps, context, training=None):
        batch, frames = ops.shape(maps)[0], maps.shape[1]
        h = ops.zeros((batch, self.glimpse_units), self.compute_dtype)
        z = ops.zeros((batch, maps.shape[-1]), self.precise)
        workers = [ops.zeros((batch, self.worker_units), self.compute_dtype) for _ in self.cells]
        memory, glimpses, assignments, states, seen = _Memory([], [], []), [], [], [], []
        for t in range(frames):
            r = sum(workers[1:], workers[0])  # eq. 7
            features = []
            for g in range(self.glimpses):
                h, z, v, location = self._glimpse(maps[:, t], context[:, t], h, z, r, t, g, training)
                features.append(v)
                glimpses.append(location)
            v = ops.stack(features, axis=1)  # (B, G, D)
            p, memory = self._assign(v, memory, t, training)
            pooled = ops.einsum("bcg,bgd->bcd", p, v)  # eq. 8
            for c, cell in enumerate(self.cells):  # eq. 6
                start = workers[0] if self.official else workers[c]
                workers[c], _ = cell(pooled[:, c], [start])
            assignments.append(p)
            states.append(ops.stack(workers, axis=1))
            seen.append(v)
        glimpses = ops.reshape(ops.stack(glimpses, axis=1), (-1, frames, self.glimpses, 4))
        return glimpses, *(ops.stack(values, axis=1) for values in (assignments, states, seen))

    def _glimpse(self, image, context, h, z, r, t: int, g: int, training):
        """One glimpse: state h, features z and v, and location, all (B, …)."""
        if self.cell is not None and not self.official:
            h, _ = self.cell(ops.concatenate([ops.cast(z, r.dtype), r], axis=1), [h])  # eq. 2
        raw = self._raw_location(context, h, g)
        location = self._random_location(image, t, g, training) if raw is None else _squashed(raw)
        seen = ops.stop_gradient(location) if self.official else location
        rows, columns = image.shape[1:3]
        image = ops.cast(image, self.precise)
        z = pooled_glimpse(image, seen, height=rows, width=columns, align_corners=self.align_corners)  # eq. 1 and 4
        if self.encoding == "concat":
            v = ops.concatenate([z, location], axis=1)
        else:
            v = z * self.where(self.where_hidden(raw if self.official else location))  # eq. 5
        if self.official:
            h, _ = self.cell(ops.concatenate([ops.cast(v, r.dtype), r], axis=1), [h])
        return h, z, v, location

    def _raw_location(self, context, h, g: int):
        """W_l [h, c], eq. 3, before it is squashed; None for random places."""
        if self.attention == "random":
            return None
        if self.attention == "saliency":
            return self.locate(context)[:, 4 * g : 4 * g + 4]
        return self.locate(ops.concatenate([context, h] if self.official else [h, context], axis=1))

    def _random_location(self, image, t: int, g: int, training):
        """Centres anywhere in the frame, crops of an eighth to the half of its sides."""
        shape = (ops.shape(image)[0], 4)
        if training:
            drawn = keras.random.uniform(shape, seed=self.random)
        else:
            table = np.random.default_rng((_LOCATION_SEED, t, g)).random(4).astype(np.float32)
            drawn = ops.broadcast_to(ops.convert_to_tensor(table), shape)
        low, high = np.array([-1, -1, 0.125, 0.125], np.float32), np.array([1, 1, 0.5, 0.5], np.float32)
        return ops.cast(low + (high - low) * drawn, self.precise)

    def _assign(self, v, memory: _Memory, t: int, training):
        """p_{t,c}, (B, C, G), and the memory with this frame's glimpses (section 4.2)."""
        shape = (ops.shape(v)[0], self.workers, self.glimpses)
        if self.pooling == "sum":
            return ops.ones(shape, self.precise), memory
        projected = None if self.metric is None else self.metric.project(v)
        if t == 0:
            first = ops.cast(self.first, self.precise)
            p = ops.broadcast_to(ops.softmax(first / self.temperature, axis=-1), shape)
        else:
            distances = self.metric.between(memory.features, projected)  # eq. 9
            over_batch = self.normalise_over == "batch" or (self.normalise_over == "training_batch" and bool(training))
            p = soft_assignment(  # eq. 10
                distances, memory.importance, decay=self._decay(memory, t), temperature=self.temperature,
                normalisation="batch" if over_batch else "sample", least=0.0 if self.official else None,
            )  # fmt: skip
        if projected is None:  # a single frame: nothing will be read
            return p, memory
        return p, self._written(projected, p, memory, t)

    def _written(self, projected, p, memory: _Memory, t: int) -> _Memory:
        """Appends this frame's glimpses, L v, and drops the oldest slots where there are more than K."""
        features, importance, frames = projected, p, [t] * self.glimpses
        if memory.frames:
            features = ops.concatenate([memory.features, features], axis=1)
            importance = ops.concatenate([memory.importance, importance], axis=2)
            frames = memory.frames + frames
        keep = len(frames) if self.official else min(len(frames), self.memory_slots)
        return _Memory(features[:, -keep:], importance[:, :, -keep:], frames[-keep:])

    def _decay(self, memory: _Memory, t: int) -> np.ndarray:
        """Of each slot: e^{-age} in frames; the published code has the mean over a frame and decays from the oldest on."""
        frames = np.array(memory.frames, np.float32)
        return np.exp(-frames / _OFFICIAL_DECAY) / self.glimpses if self.official else np.exp(frames - t)

    def compute_output_spec(self, maps, context, training=None):
        batch, frames = maps.shape[:2]
        fed = maps.shape[-1] + 4 * (self.encoding == "concat")
        return (
            keras.KerasTensor((batch, frames, self.glimpses, 4), dtype=self.precise),
            keras.KerasTensor((batch, frames, self.workers, self.glimpses), dtype=self.precise),
            keras.KerasTensor((batch, frames, self.workers, self.worker_units), dtype=self.compute_dtype),
            keras.KerasTensor((batch, frames, self.glimpses, fed), dtype=self.precise),
        )

    def get_config(self):
        names = (*_COUNTS, "temperature", *_CHOICES, "align_corners", "official")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _squashed(raw):
    """Places by tanh, scales by σ(· + 3): inside of the frame, almost all of it to begin with (as in the published code)."""
    return ops.concatenate([ops.tanh(raw[:, :2]), ops.sigmoid(raw[:, 2:] + _SCALE_OFFSET)], axis=1)
