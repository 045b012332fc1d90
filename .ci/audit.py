"""`make audit`: are there known vulnerabilities in the pinned packages (constraints.txt), by the OSV database?

Without a way to the database this says so and passes, for a build must not depend on somebody else's server; with `--insist`,
as in the scheduled workflow, it fails then. Exit 1 otherwise: there are vulnerabilities, or the audit itself is broken.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
UNREACHABLE = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "NameResolutionError", "Max retries exceeded")
TIMEOUT_SECONDS = 600


def main() -> int:
    """Run pip-audit, say what it found, return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--insist", action="store_true", help="fail where the database cannot be reached")
    parser.add_argument("--constraints", type=Path, default=CONSTRAINTS)
    parser.add_argument("--osv-url", help="another server that speaks OSV's API")
    arguments = parser.parse_args()
    done = subprocess.run(
        command(arguments.constraints, arguments.osv_url), capture_output=True, text=True, timeout=TIMEOUT_SECONDS
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return no_answer(done.stderr, arguments.insist)
    found = [(package["name"], package["version"], one) for package in packages for one in package.get("vulns", ())]
    for name, version, one in found:
        print(f"audit: {name} {version}: {one['id']}, fixed in {', '.join(one['fix_versions']) or 'no version yet'}")
    print(f"audit: {len(packages)} pinned packages, {len(found)} known vulnerabilities")
    return 1 if found else 0


def command(constraints: Path, osv_url: str | None) -> list[str]:
    """pip-audit over pinned names and versions alone: nothing is resolved or installed."""
    options = ["--no-deps", "--disable-pip", "--vulnerability-service", "osv", "--progress-spinner", "off", "--format", "json"]
    where = ["--osv-url", osv_url] if osv_url else []
    return [sys.executable, "-m", "pip_audit", "--requirement", str(constraints), "--timeout", "10", *options, *where]


def no_answer(stderr: str, insist: bool) -> int:
    """The exit code where pip-audit gave no list, after saying why."""
    reason = (stderr.strip().splitlines() or ["it said nothing"])[-1]
    if not any(word in stderr for word in UNREACHABLE):
        print(f"audit: pip-audit failed: {reason}")
        return 1
    print(f"audit: no advisory source reachable, nothing was audited ({reason[:200]})")
    return 1 if insist else 0


if __name__ == "__main__":
    sys.exit(main())
