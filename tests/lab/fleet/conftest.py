"""An object store on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.request import Request, urlopen

import fsspec
import pytest
from moto.server import ThreadedMotoServer


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of an empty bucket of moto's server, which fsspec finds by the environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # All servers of a process have one store, in which a test before this one may have left something.
    urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST"), timeout=10).close()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()
    fsspec.filesystem("s3").mkdir("recordings")
    yield "s3://recordings"
    server.stop()
    fsspec.filesystem("s3").clear_instance_cache()
