"""Which glimpse belongs to which worker: a learned distance to remembered glimpses, and the softmax over similarities.

Paper: Baradel et al., "Glimpse Clouds: Human Activity Recognition from Unstructured Feature Points", CVPR 2018, section 4.2,
equations 9 and 10.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import backend, ops
from scipy.linalg import LinAlgError, cholesky, eigh, solve_triangular

from keras_actrec.errors import ConfigError
from keras_actrec.layers.attention import attention_dtype

INITIAL_MATRICES = ("random", "identity")
NORMALISATIONS = ("batch", "sample")
LEAST_SHRINKAGE = 1e-3
"""What `set_inverse_covariance` shrinks at least by when it chooses itself."""
_LEAST_SQUARE = 1e-30  # Smaller squared distances count as 0, where a root has no gradient.
_BEYOND = 1e30  # Larger than any distance, and far enough from the largest float32 to be subtracted.


@keras.saving.register_keras_serializable(package="keras_actrec")
class MahalanobisDistance(keras.layers.Layer):
    """Equation 9, φ(x, y) = √((x - y)ᵀ D (x - y)), as ‖L x - L y‖ with D = LᵀL and L trained in the place of D.

    A matrix D that is trained itself soon has negative eigenvalues, and the root of a negative number no value; LᵀL is
    symmetric and positive semidefinite for any L, so that φ stays a distance. No rank is taken away: any D has such an L.

    L starts as `initial` says. The paper starts D at the inverse covariance of the glimpse features
    (`set_inverse_covariance`) and trains it; fixed without training is `trainable=False`.

    The gradient at x = y, where the root has none, is 0.

    A recurrence that meets the same features again and again needs L x only once: `between(project(x), project(y))` is what
    a call computes.

    Args:
        initial: "random", normal numbers of deviation dim^-1/2, so that φ(x, y) is on average as large as ‖x - y‖; or
            "identity", the Euclidean distance.
        squared: gives φ², as the published code has it in the place of φ.
        maximum: larger results become this, without gradient; None for no limit (published code: 1e5, of φ²).
        seed: of the random L; None for Keras's own.

    Call arguments:
        x: (B, K, dim); dim has to be known when the layer is built.
        y: (B, G, dim).

    Returns:
        (B, K, G), every x to every y of the same sample; at least float32 whatever the dtype policy.

    Raises:
        ConfigError: an unknown `initial`, a maximum that is not positive, or inputs of unknown or wrong shape.
    """

    def __init__(
        self,
        *,
        initial: str = "random",
        squared: bool = False,
        maximum: float | None = None,
        seed: int | None = None,
        trainable: bool = True,
        name: str | None = None,
        dtype=None,
    ):
        # No autocast: differences of near vectors are left to float32.
        super().__init__(trainable=trainable, name=name, dtype=dtype, autocast=False)
        if initial not in INITIAL_MATRICES:
            raise ConfigError(
                "MahalanobisDistance: unknown initial matrix",
                found=repr(initial),
                expected=f"one of {', '.join(INITIAL_MATRICES)}",
                fix="for an inverse covariance, call set_inverse_covariance once the layer is built",
            )
        if maximum is not None and not maximum > 0:
            raise ConfigError("MahalanobisDistance: maximum has to be positive", found=maximum, fix="give None for no limit")
        self.initial = initial
        self.squared = squared
        self.maximum = maximum
        self.seed = seed

    def build(self, x_shape, y_shape):
        if len(x_shape) != 3 or len(y_shape) != 3 or x_shape[2] is None or x_shape[2] != y_shape[2]:
            raise ConfigError(
                "MahalanobisDistance: the two sets of features do not fit together",
                found=f"{tuple(x_shape)} and {tuple(y_shape)}",
                expected="(batch, count, dim) twice, with the same, known dim",
            )
        dim = x_shape[2]
        if self.initial == "random":
            initializer = keras.initializers.RandomNormal(stddev=dim**-0.5, seed=self.seed)
        else:
            initializer = keras.initializers.Identity()
        # Keras casts weights of a layer without autocast all the same.
        self.factor = self.add_weight(name="factor", shape=(dim, dim), initializer=initializer, autocast=False)

    def call(self, x, y):
        return self.between(self.project(x), self.project(y))

    def project(self, features):
        """L x for every x: (..., dim) → (..., dim), at least float32."""
        dtype = attention_dtype(self.compute_dtype)
        return ops.matmul(ops.cast(features, dtype), ops.transpose(ops.cast(self.factor, dtype)))

    def between(self, x, y):
        """Distances of what `project` gave: (B, K, dim) and (B, G, dim) → (B, K, G)."""
        squares = ops.sum(ops.square(x[:, :, None] - y[:, None]), axis=-1)
        if self.squared:
            distances = squares
        else:
            apart = squares > _LEAST_SQUARE
            distances = ops.where(apart, ops.sqrt(ops.where(apart, squares, 1.0)), 0.0)
        return distances if self.maximum is None else ops.minimum(distances, self.maximum)

    def matrix(self) -> np.ndarray:
        """D = LᵀL, (dim, dim) float64."""
        factor = self._built_factor()
        return factor.T @ factor

    def set_matrix(self, matrix) -> None:
        """Sets D to a symmetric matrix without negative eigenvalues; zeros among them are fine.

        Args:
            matrix: D, (dim, dim).

        Raises:
            ConfigError: a layer that is not built, or a D of another shape, not finite, not symmetric or with a negative
                eigenvalue, beyond what rounding to float32 explains.
        """
        dim = len(self._built_factor())
        array = np.asarray(matrix, dtype="float64")
        if array.shape != (dim, dim) or not np.isfinite(array).all():
            raise ConfigError(
                "MahalanobisDistance: this is no matrix D for the features",
                found=f"shape {array.shape}" if array.shape != (dim, dim) else "numbers that are not finite",
                expected=f"finite numbers of shape {(dim, dim)}",
            )
        largest = np.abs(array).max()
        asymmetry = np.abs(array - array.T).max()
        if asymmetry > 1e-5 * largest:
            raise ConfigError(
                "MahalanobisDistance: D is not symmetric",
                found=f"D and its transpose differ by up to {asymmetry:.3g}",
                fix="give (D + D.T) / 2, which makes the same distances",
            )
        array = (array + array.T) / 2
        try:
            factor = cholesky(array)  # upper triangular U with UᵀU = D
        except LinAlgError:  # semidefinite, or worse
            values, vectors = eigh(array)
            if values[0] < -1e-5 * abs(values[-1]):
                raise ConfigError(
                    "MahalanobisDistance: D makes no distance, it has negative eigenvalues",
                    found=f"eigenvalues from {values[0]:.3g} to {values[-1]:.3g}",
                    expected="a positive semidefinite matrix",
                ) from None
            factor = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
        self.factor.assign(factor)

    def set_inverse_covariance(self, features, *, shrinkage: float | None = None) -> float:
        """Sets D to the inverse covariance of glimpse features, which makes φ the Mahalanobis distance of section 4.2.

        The covariance Σ of fewer samples than dimensions has no inverse, and that of a few more one made of noise; the
        published code inverts it all the same, which fails or gives huge numbers. So Σ is shrunk first towards a multiple of
        the identity of the same trace: (1 - s) Σ + s (tr Σ / dim) I. At s = 0 that is the plain inverse covariance, at s = 1
        the Euclidean distance but for a factor, and what the samples say nothing about gets the latter.

        Args:
            features: (N, dim) of at least two glimpses.
            shrinkage: s in [0, 1]; None for the estimate of the best s by Ledoit and Wolf, "A well-conditioned estimator for
                large-dimensional covariance matrices", 2004, but at least 0.001 (theirs goes to 0 with more samples, where a
                feature that never changes would get an infinite weight).

        Returns:
            The s that was used.

        Raises:
            ConfigError: a layer that is not built, features of another shape, not finite or all equal, s outside [0, 1], or a
                covariance that has no inverse at this s.
        """
        dim = len(self._built_factor())
        array = np.asarray(features, dtype="float64")
        if array.ndim != 2 or array.shape[1] != dim or len(array) < 2 or not np.isfinite(array).all():
            finite = array.ndim != 2 or np.isfinite(array).all()
            raise ConfigError(
                "MahalanobisDistance: no covariance can be made of these features",
                found=f"shape {array.shape}" if finite else "numbers that are not finite",
                expected=f"finite numbers of shape (glimpses, {dim}), two glimpses or more",
            )
        if shrinkage is not None and not 0 <= shrinkage <= 1:
            raise ConfigError("MahalanobisDistance: shrinkage has to be between 0 and 1", found=shrinkage)
        centred = array - array.mean(axis=0)
        covariance = centred.T @ centred / (len(array) - 1)
        mean_variance = np.trace(covariance) / dim
        if mean_variance == 0:
            raise ConfigError(
                "MahalanobisDistance: all features are equal, they have no covariance",
                found=f"{len(array)} times the same",
                fix="give features of glimpses from several clips",
            )
        if shrinkage is None:
            shrinkage = max(LEAST_SHRINKAGE, _ledoit_wolf(centred))
        shrunk = (1 - shrinkage) * covariance + shrinkage * mean_variance * np.eye(dim)
        try:
            lower = cholesky(shrunk, lower=True)
        except LinAlgError:
            lower = np.zeros((dim, dim))
        if lower.diagonal().min() ** 2 < 1e-10 * mean_variance:
            raise ConfigError(
                "MahalanobisDistance: the covariance of the features has no inverse",
                found=f"{len(array)} glimpses of {dim} features, shrinkage {shrinkage}",
                fix="give more glimpses, a larger shrinkage, or None to have one estimated",
            )
        # Σ = C Cᵀ, so D = Σ⁻¹ = (C⁻¹)ᵀ C⁻¹: the inverse itself is never formed.
        self.factor.assign(solve_triangular(lower, np.eye(dim), lower=True))
        return float(shrinkage)

    def _built_factor(self) -> np.ndarray:
        if not self.built:
            raise ConfigError(
                "MahalanobisDistance: the layer is not built yet, and the size of D not known",
                fix="call the layer, or its model, once before",
            )
        return keras.ops.convert_to_numpy(self.factor).astype("float64")

    def get_config(self):
        return {
            **super().get_config(),
            "initial": self.initial,
            "squared": self.squared,
            "maximum": self.maximum,
            "seed": self.seed,
        }


def soft_assignment(
    distances,
    importance,
    age=None,
    *,
    temperature: float,
    decay=None,
    present=None,
    normalisation: str = "batch",
    least: float | None = None,
):
    """Equation 10: p = softmax over g of Σ_k decay_k · w_{c,k} · (1 - φ̂(v_g, m_k)) / temperature.

    φ̂ is φ by min-max normalisation between 0 and 1. With "batch", the paper's, its ends are the least and the largest
    distance of all samples of the batch, so that what a clip gets hangs on the clips beside it, in testing too. With
    "sample" they are those of each sample alone, better where clips come one by one. Ends are of one call: of the slots and
    glimpses of one frame. Where all distances are equal, φ̂ is 0.

    Args:
        distances: φ, (B, K, G), slot k to glimpse g.
        importance: w, (B, C, K), of slot k for worker c.
        age: t_k, how long ago each slot was written, (K,) or (B, K), any unit: decay_k = exp(-age_k).
        temperature: α; the smaller, the sharper.
        decay: decay_k itself in the place of `age`, (K,) or (B, K).
        present: bool (K,) or (B, K), which slots hold a glimpse; None for all. Empty ones add nothing and count for
            neither end of φ̂, whatever stands in them. Where all are empty, every glimpse gets 1/G.
        normalisation: "batch" or "sample".
        least: the distance where φ̂ is 0, in the place of the least one found; 0 in the published code.

    Returns:
        p, (B, C, G), adds up to 1 over G; at least float32 whatever the dtype policy.

    Raises:
        ConfigError: an unknown normalisation, a temperature that is not positive, both or none of age and decay, or distances
            and importance that do not fit.
    """
    if not temperature > 0:
        raise ConfigError("soft_assignment: the temperature has to be positive", found=temperature)
    if (age is None) == (decay is None):
        raise ConfigError("soft_assignment: give either age or decay", found="none" if age is None else "both")
    if len(distances.shape) != 3 or len(importance.shape) != 3 or distances.shape[1] != importance.shape[2]:
        raise ConfigError(
            "soft_assignment: distances and importance do not fit together",
            found=f"{tuple(distances.shape)} and {tuple(importance.shape)}",
            expected="(batch, slots, glimpses) and (batch, workers, slots)",
        )
    dtype = attention_dtype(backend.standardize_dtype(distances.dtype))
    similarity = 1 - normalised_distances(distances, present=present, normalisation=normalisation, least=least)
    decay = ops.exp(-ops.cast(age, dtype)) if decay is None else ops.cast(decay, dtype)
    weights = ops.cast(importance, dtype) * _per_slot(decay)
    if present is not None:
        weights = ops.where(_per_slot(ops.cast(present, "bool")), weights, 0.0)
    return ops.softmax(ops.matmul(weights, similarity) / temperature, axis=-1)


def normalised_distances(distances, *, present=None, normalisation: str = "batch", least: float | None = None):
    """φ̂: distances between 0 and 1 by min-max normalisation; arguments and errors as in `soft_assignment`.

    Returns:
        (B, K, G), at least float32; 0 where all distances are equal, and at empty slots.
    """
    if normalisation not in NORMALISATIONS:
        raise ConfigError(
            "soft_assignment: unknown normalisation", found=repr(normalisation), expected=f"one of {', '.join(NORMALISATIONS)}"
        )
    distances = ops.cast(distances, attention_dtype(backend.standardize_dtype(distances.dtype)))
    axes = (0, 1, 2) if normalisation == "batch" else (1, 2)
    low, high = distances, distances
    if present is not None:
        # (B or 1, K, 1); replaced before anything is computed, so that no NaN of an empty slot reaches value or gradient.
        filled = ops.swapaxes(_per_slot(ops.cast(present, "bool")), -1, -2)
        distances = ops.where(filled, distances, 0.0)
        low, high = ops.where(filled, distances, _BEYOND), ops.where(filled, distances, -_BEYOND)
    high = ops.max(high, axis=axes, keepdims=True)
    low = ops.min(low, axis=axes, keepdims=True) if least is None else least
    span = high - low
    apart = span > 0
    scaled = ops.where(apart, (distances - low) / ops.where(apart, span, 1.0), 0.0)
    return scaled if present is None else ops.where(filled, scaled, 0.0)


def _per_slot(values):
    """(K,) or (B, K) → (1 or B, 1, K), which broadcasts to (B, C, K)."""
    return values[:, None] if len(values.shape) == 2 else values[None, None]


def _ledoit_wolf(centred: np.ndarray) -> float:
    """Their s for samples (N, dim) of mean 0: scatter of single samples around Σ against how far Σ is from round."""
    count, dim = centred.shape
    covariance = centred.T @ centred / count
    square = (covariance**2).sum()
    from_round = square / dim - (np.trace(covariance) / dim) ** 2
    scatter = (((centred**2).sum(axis=1) ** 2).mean() - square) / (count * dim)
    return float(min(scatter / from_round, 1.0)) if from_round > 0 else 1.0
