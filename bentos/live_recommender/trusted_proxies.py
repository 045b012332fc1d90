"""The proxies whose `X-Forwarded-For` is believed: none unless a setting names them.

| variable | what it names | if it is not set |
|---|---|---|
| `LIVEALIGN_TRUSTED_PROXIES` | addresses or networks of reverse proxies, separated by commas: `10.0.0.7, 10.1.0.0/16` | none |

Requests from one of them count for the address in their `X-Forwarded-For`; from anywhere else that header is ignored.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from livealign.errors import LiveAlignError

VARIABLE = "LIVEALIGN_TRUSTED_PROXIES"
UVICORN_VARIABLE = "FORWARDED_ALLOW_IPS"  # uvicorn's own default believes everybody on this machine


@dataclass(frozen=True)
class TrustedProxies:
    """The networks of the trusted proxies."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "TrustedProxies":
        """The proxies that the environment names.

        Raises:
            LiveAlignError: an entry is no address and no network.
        """
        networks = []
        for name in environment.get(VARIABLE, "").replace(",", " ").split():
            try:
                networks.append(ip_network(name, strict=False))
            except ValueError:
                raise LiveAlignError(
                    f"{VARIABLE} has {name[:40]!r}; give addresses or networks such as 10.0.0.7 or 10.1.0.0/16"
                ) from None
        return cls(tuple(networks))

    def __contains__(self, address: str) -> bool:
        try:
            known = ip_address(address)
        except ValueError:
            return False
        return any(known in network for network in self.networks)

    def for_uvicorn(self) -> str:
        """The value of FORWARDED_ALLOW_IPS."""
        return ",".join(str(network) for network in self.networks)
