"""Human action recognition from body pose and RGB video, in Keras.

Importing the package is cheap: TensorFlow and Keras are imported by the rooms that need them (layers, models, training, …).
"""

from keras_actrec.version import __version__

__all__ = ["__version__"]
