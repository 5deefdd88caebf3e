"""Requests to the admin endpoint."""

import http.client
import json

from . import rpc
from .waiting import DEADLINE_S


class Connection(http.client.HTTPConnection):
    """http.client over any address of ours."""

    def __init__(self, address):
        super().__init__("localhost", timeout=DEADLINE_S)
        self.address = address

    def connect(self):
        self.sock = rpc.connect(self.address)


def fetch(address, path, method="GET", body=None, headers=None):
    """(status, headers, text) of one request on a connection of its own."""
    connection = Connection(address)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


def stats(address):
    status, headers, text = fetch(address, "/stats")
    assert status == 200 and headers["Content-Type"] == "application/json"
    return json.loads(text)


def raw(address, data):
    """Everything that comes back for these bytes, until the server closes."""
    with rpc.Client(address) as client:
        client.send(data)
        received = b""
        while chunk := client.sock.recv(1 << 16):
            received += chunk
        return received
