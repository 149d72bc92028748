"""Fixtures that need real servers. What they give is described in tests/support."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pgwarden.jobs.files import ClaimLocation, StoreLocation
from tests.support.age import AgeKey, new_age_key
from tests.support.postgres import MAJORS, PostgresServer, postgres_server
from tests.support.s3 import S3Server, s3_server

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is an integration test, whether its file says so or not."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def postgres17() -> Iterator[PostgresServer]:
    """A running PostgreSQL 17, shared by all tests: each makes databases and roles of its own."""
    with postgres_server(17) as server:
        yield server


@pytest.fixture(scope="session")
def postgres18() -> Iterator[PostgresServer]:
    """A running PostgreSQL 18, shared by all tests: each makes databases and roles of its own."""
    with postgres_server(18) as server:
        yield server


@pytest.fixture(scope="session", params=MAJORS, ids=lambda major: f"postgres{major}")
def major(request: pytest.FixtureRequest) -> int:
    """Runs a test once for each major version."""
    return int(request.param)


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest, major: int) -> PostgresServer:
    """The shared server of each major version in turn."""
    server = request.getfixturevalue(f"postgres{major}")
    assert isinstance(server, PostgresServer)
    return server


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """Name of a new, empty database on `postgres`."""
    name = postgres.create_database()
    yield name
    postgres.drop_database(name)


@pytest.fixture
def new_postgres() -> Iterator[Callable[..., PostgresServer]]:
    """Starts servers of one test's own: `new_postgres(17, settings={...}, tls=True)`; arguments as `create`."""
    with ExitStack() as servers:
        yield lambda major, **options: servers.enter_context(postgres_server(major, **options))


@pytest.fixture
def new_standby() -> Iterator[Callable[..., PostgresServer]]:
    """Starts a streaming standby: `new_standby(primary, settings={...})`."""
    with ExitStack() as servers:

        def start(primary: PostgresServer, **options: dict[str, str]) -> PostgresServer:
            standby = primary.create_standby(**options)
            servers.callback(standby.destroy)
            return standby

        yield start


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """A running S3 server with TLS, shared by all tests: each makes a bucket of its own (`s3.new_bucket()`)."""
    with s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def age_key(tmp_path_factory: pytest.TempPathFactory) -> AgeKey:
    """What the encrypted stores of all tests are encrypted to."""
    return new_age_key(tmp_path_factory.mktemp("age"))


@pytest.fixture
def claim(tmp_path: Path) -> StoreLocation:
    """A new claim."""
    path = tmp_path / "claim"
    path.mkdir()
    return StoreLocation(claim=ClaimLocation(path=str(path)))


@pytest.fixture
def bucket(s3: S3Server) -> StoreLocation:
    """A new bucket of the shared S3 server."""
    return s3.location(s3.new_bucket(), prefix="team/a")


@pytest.fixture
def encrypted_bucket(s3: S3Server, age_key: AgeKey) -> StoreLocation:
    """A new bucket whose objects are encrypted to `age_key`."""
    return s3.location(s3.new_bucket(), recipients=[age_key.recipient], identity_file=age_key.identity)


@pytest.fixture(params=["claim", "bucket", "encrypted_bucket"])
def store(request: pytest.FixtureRequest) -> StoreLocation:
    """A new store of each sort in turn; a folder that wants others says so in its own `store`."""
    location: StoreLocation = request.getfixturevalue(request.param)
    return location
