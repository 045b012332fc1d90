"""The numbers of a running service, by its metrics."""

import http.client
import re


def exposed(port: int, key: str = "", host: str = "127.0.0.1") -> str:
    """All series of `/metrics` as text."""
    connection = http.client.HTTPConnection(host, port, timeout=30)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {key}"} if key else {})
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def served(port: int, name: str, key: str = "", host: str = "127.0.0.1") -> float:
    """The sum of a series of `/metrics`, over processes and the labels that are not named."""
    found = re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", exposed(port, key, host), re.MULTILINE)
    return sum(float(value) for value in found)
