"""The `livealign` command: everything finer than `make`.

Read `main` first; `releases` adds the commands about releases, `progress` draws the bar.
"""
