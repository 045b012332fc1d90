"""A number of a running service, by its metrics."""

import http.client
import re


def served(port: int, name: str, key: str = "") -> float:
    """The sum of a series of `/metrics`, over processes and the labels that are not named."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {key}"} if key else {})
    text = connection.getresponse().read().decode()
    connection.close()
    return sum(float(value) for value in re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", text, re.MULTILINE))
