#!/bin/sh
# Runs a command with the head of a Ray cluster beside it, if RAY_AUTH_TOKEN is set: the command's retrains are its drivers.
# The head has no CPUs of its own, so all work goes to the workers (docs/scaling.md).
set -eu
if [ -n "${RAY_AUTH_TOKEN:-}" ]; then
    ray start --head --num-cpus=0 --port=6379 --node-ip-address="$(hostname -i)" --include-dashboard=false --disable-usage-stats
fi
exec "$@"
