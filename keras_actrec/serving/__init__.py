"""Answers requests to an exported model over HTTP, in TensorFlow Serving's REST form."""
