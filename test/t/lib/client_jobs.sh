#!/bin/sh
# The handler for bgjob-worker in the tests of external workers; see BgjobClients.pm.
set -eu
[ "$BGJOB_JOB" = result ] || exit 69
read -r file
file=${file%\"}
until [ -e "${file#\"}" ]; do sleep 0.02; done
printf '{"worker": "%s"}' "$BGJOB_WORKER"
