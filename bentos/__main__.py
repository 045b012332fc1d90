"""The commands of `python -m bentos`: build, serve, feed and demo.

`build BUNDLE STORE` builds the Bento of a bundle, tries it and prints the result as one line of JSON. `serve` serves the
champion, `feed` plays a landed day into a running service, and `demo` does both.

The orchestration runs `build` as a process, because it must not import this package.
"""

import argparse
import json
import math
import os
import secrets
import signal
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import NoReturn

from bentos.build import build_bento
from bentos.feed import feed
from bentos.live_recommender.api_keys import WRITE_VARIABLE
from bentos.serve import champion_server, serve
from bentos.smoke import smoke_test
from livealign.cli.command import path_error
from livealign.errors import LiveAlignError
from livealign.home import Home
from livealign.landing.partitions import landed_days
from livealign.live.answers import ROLES
from livealign.paths import path_named


def main() -> None:
    """Parse and run a command; an error ends the process with 1 and one `error:` line."""
    arguments = parser().parse_args()
    for name, value in vars(arguments).items():
        if value == []:  # the argparse of Python 3.11 drops two dashes
            parser().error(f"the {name} is two dashes; write ./-- for a folder of that name")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)  # so that what this process has started ends too
    try:
        match arguments.command:
            case "build":
                built = build_bento(arguments.bundle.absolute(), arguments.store.absolute(), arguments.backbone)
                smoke = smoke_test(built.path, arguments.timeout, arguments.models)
                print(json.dumps({"tag": built.tag, "path": str(built.path), "smoke": asdict(smoke)}))
            case "serve":
                serve(Home.from_environment(arguments.platform), arguments.host, arguments.port, arguments.role)
            case "feed":
                _feed(arguments, arguments.url, os.environ.get(WRITE_VARIABLE, "").split(",")[0])
            case "demo":
                key = os.environ.get(WRITE_VARIABLE, "").split(",")[0] or secrets.token_urlsafe(24)
                with champion_server(Home.from_environment(arguments.platform), arguments.host, arguments.port, key) as url:
                    print(f"the wall is at {url}/", flush=True)
                    _feed(arguments, url, key)
                    input("the day is over; press Enter to stop the service\n")
    except LiveAlignError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {path_error(error)}")
    except (KeyboardInterrupt, EOFError):
        sys.exit(130)


def _end(number: int, _: object) -> None:
    sys.exit(128 + number)


def _feed(arguments: argparse.Namespace, url: str, key: str) -> None:
    if not key:
        raise LiveAlignError(f"{WRITE_VARIABLE} is not set; give it one of the keys that the service was started with")
    home = Home.from_environment(arguments.platform)
    days = landed_days(home.landing)
    day = arguments.day or (days[-1] if days else None)
    if day is None:
        raise LiveAlignError(f"{home.landing} has no day; run `make retrain` first")
    report = feed(url, key, home.landing, day, speed=arguments.speed, minutes=arguments.minutes)
    print(f"{report.sent:,} events sent, {report.accepted:,} taken, {report.rejected:,} not", flush=True)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the message without the usage, and end the process."""
        self.exit(2, f"error: {' '.join(message.split())}; --help lists what there is\n")


def _day(text: str) -> date:
    """The day of --day."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: {error}; write a day as 2025-06-09") from None


def _positive(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number above 0")
    return number


def _path(text: str) -> Path:
    try:
        return path_named(text, "the path")
    except LiveAlignError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    made = _Parser(prog="python -m bentos", description="Build, try, serve and feed Bentos.")
    commands = made.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build the Bento of a bundle and smoke-test it")
    build.add_argument("bundle", type=_path, help="a release bundle")
    build.add_argument("store", type=_path, help="BENTOML_HOME to build into, e.g. <workspace>/bentoml")
    build.add_argument("--timeout", type=_positive, default=120.0, help="seconds that the Bento may take to get ready")
    build.add_argument("--models", type=_path, help="folder of the backbones, to try the refresh too")
    build.add_argument("--backbone", type=_path, help="a backbone's folder to pack, for a Bento that needs nothing beside it")
    server = commands.add_parser("serve", help="serve the champion's Bento")
    server.add_argument(
        "--role", choices=ROLES, help="of this process, where several share a log in Redis (default: LIVEALIGN_ROLE, else both)"
    )
    player = commands.add_parser("feed", help="play a landed day into a running service")
    player.add_argument("--url", default="http://127.0.0.1:3000")
    demo = commands.add_parser("demo", help="serve the champion and play a landed day into it")
    for one in (server, demo):
        one.add_argument("--host", default="127.0.0.1")
        one.add_argument("--port", type=int, default=3000)
    for one in (player, demo):
        one.add_argument("--day", type=_day, help="YYYY-MM-DD; default: the last landed day")
        one.add_argument("--speed", type=_positive, default=1.0, help="times as fast as it was")
        one.add_argument("--minutes", type=_positive, default=60.0, help="of the day, around its busiest quarter of an hour")
    for one in (server, player, demo):
        one.add_argument("--platform", help="whose (default: LIVEALIGN_PLATFORM, else simulator)")
    return made


if __name__ == "__main__":
    main()
