"""Errors of a request: TensorFlow's codes, and the statuses of HTTP that TensorFlow Serving answers them with."""

from __future__ import annotations

from http import HTTPStatus


class RequestError(Exception):
    """A request that is answered with an error.

    Args:
        message: what the client reads under "error".
        status: of HTTP.
    """

    def __init__(self, message: str, status: int = HTTPStatus.BAD_REQUEST):
        super().__init__(message)
        self.message, self.status = message, int(status)


STATUSES = {
    1: 499,  # cancelled: the client closed the request
    2: HTTPStatus.INTERNAL_SERVER_ERROR,  # unknown
    3: HTTPStatus.BAD_REQUEST,  # invalid argument
    4: HTTPStatus.GATEWAY_TIMEOUT,  # deadline exceeded
    5: HTTPStatus.NOT_FOUND,
    6: HTTPStatus.CONFLICT,  # already exists
    7: HTTPStatus.FORBIDDEN,  # permission denied
    8: HTTPStatus.TOO_MANY_REQUESTS,  # resource exhausted
    9: HTTPStatus.BAD_REQUEST,  # failed precondition
    10: HTTPStatus.CONFLICT,  # aborted
    11: HTTPStatus.BAD_REQUEST,  # out of range
    12: HTTPStatus.NOT_IMPLEMENTED,
    13: HTTPStatus.INTERNAL_SERVER_ERROR,
    14: HTTPStatus.SERVICE_UNAVAILABLE,
    15: HTTPStatus.INTERNAL_SERVER_ERROR,  # data loss
    16: HTTPStatus.UNAUTHORIZED,
}
"""`error_code` of `tf.errors.OpError` → status."""
