"""What tests of several files ask for: a server of S3 with a bucket, a cluster of Ray, a data set that takes long."""

import clusters
import pytest
import stores
from killed_runs import large_set


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with stores.moto(tmp_path_factory.mktemp("moto") / "log") as address:
        yield address


@pytest.fixture
def bucket(server, tmp_path, monkeypatch):
    """With the variables by which it is found, and temporary files in tmp_path/temp."""
    (tmp_path / "temp").mkdir()
    given = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "2"}
    for name, value in {**given, "AWS_ENDPOINT_URL": server, "TMPDIR": str(tmp_path / "temp")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", None)
    yield stores.Bucket(server)
    assert list((tmp_path / "temp").iterdir()) == []


@pytest.fixture(scope="module")
def cluster():
    with clusters.cluster() as found:
        yield found


@pytest.fixture
def by_ray(cluster):
    return ("--engine", "ray", "--ray-address", cluster.address, "--memory", "500MiB")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return large_set(tmp_path_factory.mktemp("large"))
