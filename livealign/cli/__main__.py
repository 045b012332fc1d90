"""`python -m livealign.cli`: the `livealign` command."""

from livealign.cli.main import main

main()
