"""`python -m bentos build BUNDLE STORE`: build its Bento, try it, print what came of it as one line of JSON.
`python -m bentos serve`: serve the champion.

The orchestration calls `build` as a process, for it may not import this package.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from bentos.build import build_bento
from bentos.serve import serve
from bentos.smoke import smoke_test
from livealign.errors import LiveAlignError
from livealign.home import Home


def main() -> None:
    """Parse, run, and end with 1 and one `error:` line where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bentos", description="Build, try and serve Bentos.")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build the Bento of a bundle and smoke-test it")
    build.add_argument("bundle", type=Path, help="a release bundle")
    build.add_argument("store", type=Path, help="BENTOML_HOME to build into, e.g. <workspace>/bentoml")
    build.add_argument("--timeout", type=float, default=120.0, help="seconds that the Bento may take to get ready")
    server = commands.add_parser("serve", help="serve the champion's Bento")
    server.add_argument("--host", default="127.0.0.1")
    server.add_argument("--port", type=int, default=3000)
    server.add_argument("--platform", help="whose champion (default: LIVEALIGN_PLATFORM, else simulator)")
    arguments = parser.parse_args()
    try:
        if arguments.command == "build":
            built = build_bento(arguments.bundle.absolute(), arguments.store.absolute())
            smoke = smoke_test(built.path, arguments.timeout)
            print(json.dumps({"tag": built.tag, "path": str(built.path), "smoke": asdict(smoke)}))
        else:
            serve(Home.from_environment(arguments.platform), arguments.host, arguments.port)
    except LiveAlignError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
