"""Object storage: moto's S3 server on a socket of its own."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import boto3
import pandas as pd
import pytest
from data.sources.conftest import Desk
from moto.server import ThreadedMotoServer

from workbench.data.sources import Reading
from workbench.data.sources.objects import ObjectSource
from workbench.errors import ConfigError, DataError

RAW = Reading(adjusted=False)
TEXT = "Date,Open,High,Low,Close,Volume\n2013-02-05,204.31,204.75,202.51,202.79,3636900\n"
IBM = ("IBM", "2013-02-05", 204.31, 204.75, 202.51, 202.79, 3_636_900.0)


@pytest.fixture(scope="module")
def env() -> Iterator[dict[str, str]]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        found = {
            "AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "verysecret",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_REGION": "eu-central-1",
        }  # fmt: skip
        client = boto3.client(
            "s3", endpoint_url=found["AWS_ENDPOINT_URL"], aws_access_key_id="AKIATEST",
            aws_secret_access_key="verysecret", region_name="us-east-1",
        )  # fmt: skip
        client.create_bucket(Bucket="market")
        client.put_object(Bucket="market", Key="daily/IBM.csv", Body=TEXT.encode())
        client.put_object(Bucket="market", Key="daily/KO.csv.gz", Body=gzip.compress(TEXT.encode()))
        frame = pd.DataFrame([IBM], columns=["symbol", "date", "open", "high", "low", "close", "volume"])
        client.put_object(Bucket="market", Key="long/all.parquet", Body=frame.to_parquet())
        client.put_object(Bucket="market", Key="bad/IBM.csv", Body=TEXT.replace("202.51", "x").encode())
        yield found
    finally:
        server.stop()


def test_an_object_is_read_like_a_file(desk: Desk, env: dict[str, str]) -> None:
    assert desk.read(ObjectSource("s3://market/daily/IBM.csv", RAW, env=env)) == [IBM]
    assert desk.read(ObjectSource("s3://market/long/all.parquet", RAW, env=env)) == [IBM]


@pytest.mark.parametrize("location", ["s3://market/daily/*", "s3://market/daily/"])
def test_a_pattern_or_a_prefix_is_one_load(desk: Desk, env: dict[str, str], location: str) -> None:
    source = ObjectSource(location, RAW, env=env)
    assert desk.read(source) == [IBM, ("KO", *IBM[1:])]
    assert source.name == location


def test_a_fault_in_an_object_is_named_by_line_and_column(desk: Desk, env: dict[str, str]) -> None:
    with pytest.raises(DataError, match=r"^IBM\.csv, line 2, column 'Low': is not a number"):
        desk.read(ObjectSource("s3://market/bad/IBM.csv", RAW, env=env))


def test_what_is_not_there_is_told_without_the_keys(env: dict[str, str]) -> None:
    for location in ("s3://market/daily/MSFT.csv", "s3://nowhere/daily/*.csv", "s3://market/monthly/*"):
        with pytest.raises(DataError, match=r"^s3://") as caught:
            assert ObjectSource(location, RAW, env=env).digest
        assert "verysecret" not in str(caught.value)
        assert "AKIATEST" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_bucket_alone_is_no_location(env: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="write s3://BUCKET/KEY"):
        ObjectSource("s3://market", RAW, env=env)
