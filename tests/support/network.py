"""Network namespaces with an address each: machines, as far as the network goes.

    with network("10.77.0.1", "10.77.0.2") as of:
        subprocess.run(of.command("10.77.0.2", "ping", "-c1", "10.77.0.1"))

Needs root and iproute2.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

IP, UNSHARE = shutil.which("ip"), shutil.which("unshare")
_CLONE_NEWNET = 0x4000_0000


def can_make_namespaces() -> bool:
    """Whether this user may make network namespaces and links between them."""
    if os.geteuid() or IP is None or UNSHARE is None:
        return False
    tried = f"{IP} link add one type veth peer name other && {IP} link add bridge type bridge"
    return not subprocess.run([UNSHARE, "-n", "/bin/sh", "-c", tried], capture_output=True, check=False).returncode


@dataclass(frozen=True)
class Network:
    """Namespaces with an address each; the first has the bridge to which the others are linked."""

    name: str
    addresses: tuple[str, ...]

    def namespace(self, address: str) -> str:
        return f"{self.name}-{self.addresses.index(address)}"

    def command(self, address: str, *command: str | Path) -> list[str]:
        """The command as one of the namespace of an address."""
        return [str(IP), "netns", "exec", self.namespace(address), *map(str, command)]

    @contextmanager
    def inside(self, address: str) -> Iterator[None]:
        """This thread and what it starts are in the namespace of an address until the block ends."""
        with Path("/proc/thread-self/ns/net").open() as own:
            try:
                with Path(f"/run/netns/{self.namespace(address)}").open() as space:
                    _enter(space.fileno())
                yield
            finally:
                _enter(own.fileno())


def _enter(file: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "the network namespace cannot be entered")


def ip(*arguments: str) -> None:
    """Run `ip` of iproute2."""
    subprocess.run([str(IP), *arguments], check=True, capture_output=True)


@contextmanager
def network(*addresses: str) -> Iterator[Network]:
    """Make the namespaces, and delete them with their links at the end."""
    made = Network(f"la{os.getpid()}", addresses)
    with ExitStack() as stack:
        for number, address in enumerate(addresses):
            space = made.namespace(address)
            ip("netns", "add", space)
            stack.callback(ip, "netns", "del", space)
            ip("-n", space, "link", "set", "lo", "up")
            if number == 0:
                ip("-n", space, "link", "add", "bridge", "type", "bridge")
                own = "bridge"
            else:
                own, port = "uplink", f"port{number}"
                ip("-n", made.namespace(addresses[0]), "link", "add", port, "type", "veth", "peer", "name", own, "netns", space)
                ip("-n", made.namespace(addresses[0]), "link", "set", port, "master", "bridge", "up")
            ip("-n", space, "address", "add", f"{address}/24", "dev", own)
            ip("-n", space, "link", "set", own, "up")
            ip("-n", space, "route", "add", "default", "dev", own)  # by which Ray finds its own address
        yield made
