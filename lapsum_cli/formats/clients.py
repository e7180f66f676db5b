"""The clients of object stores, which are Arrow's: one for each bucket, and settings, by the usual variables."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import os
from collections.abc import Callable
from typing import Any

from ..core.errors import OptionError
from .faults import unread_from

_CONNECT, _ANSWER = 5.0, 30.0  # seconds
_TRIES = 5  # of a request
_PATIENCE = dt.timedelta(seconds=60)  # of Google's client, which else tries for 15 minutes
# What Arrow's client of S3 does not ask for itself. Keys, tokens, profiles and roles its SDK does.
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_ATTEMPTS = ("AWS_MAX_ATTEMPTS",)
_AUTHORITIES = ("AWS_CA_BUNDLE",)


def client(scheme: str, bucket: str) -> Any:
    """The pyarrow.fs.FileSystem in which bucket/key is an object; made anew where the variables have changed."""
    settings = tuple(item for item in os.environ.items() if item[0].startswith(("AWS_", "GOOGLE_", "CLOUD_")))
    return _client(scheme, bucket, settings)


@functools.lru_cache(maxsize=64)
def _client(scheme: str, bucket: str, settings: tuple[tuple[str, str], ...]) -> Any:
    try:
        return _CLIENTS[scheme](bucket)
    except ImportError:
        raise OptionError(f"{scheme}://{bucket}: this PyArrow was built without a client of such stores") from None
    except OSError as error:
        raise unread_from(f"{scheme}://{bucket}", error) from None


def _first(names: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _of_s3(bucket: str) -> Any:
    """Without a region and an endpoint the bucket is asked where it is."""
    from pyarrow._s3fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

    endpoint, region = _first(_ENDPOINTS), _first(_REGIONS)
    if not endpoint and not region:
        with contextlib.suppress(OSError):
            region = resolve_s3_region(bucket)
    attempts = _first(_ATTEMPTS) or ""
    given = {
        "region": region,
        "endpoint_override": endpoint and endpoint.rstrip("/"),
        "connect_timeout": _CONNECT,
        "request_timeout": _ANSWER,
        "retry_strategy": AwsStandardS3RetryStrategy(max_attempts=int(attempts) if attempts.isdecimal() else _TRIES),
    }
    try:  # a small object is one request in place of three
        return S3FileSystem(allow_delayed_open=True, tls_ca_file_path=_first(_AUTHORITIES), **given)
    except TypeError:  # PyArrow 19
        return S3FileSystem(**given)


def _of_gs(bucket: str) -> Any:
    from pyarrow._gcsfs import GcsFileSystem

    return GcsFileSystem(retry_time_limit=_PATIENCE)


_CLIENTS: dict[str, Callable[[str], Any]] = {"s3": _of_s3, "gs": _of_gs, "gcs": _of_gs}
