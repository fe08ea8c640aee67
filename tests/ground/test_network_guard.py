from __future__ import annotations

import socket

import pytest


def test_a_connection_beyond_this_machine_is_refused():
    # 192.0.2.1 is reserved for documentation (RFC 5737): nothing would answer anyway
    with socket.socket() as client, pytest.raises(RuntimeError, match=r"192\.0\.2\.1"):
        client.connect(("192.0.2.1", 80))


def test_a_name_beyond_this_machine_is_not_looked_up():
    with pytest.raises(RuntimeError, match=r"example\.org"):
        socket.create_connection(("example.org", 80))


def test_a_datagram_beyond_this_machine_is_refused():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        pytest.raises(RuntimeError, match=r"192\.0\.2\.1"),
    ):
        sender.sendto(b"x", ("192.0.2.1", 53))


def test_loopback_is_allowed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(b"x")
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1) == b"x"
