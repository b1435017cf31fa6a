"""A handler for bgjob-worker --persistent that does nothing: a line of JSON in for each job, a line out."""
import json
import sys

for line in sys.stdin:
    sys.stdout.write('{"id":%d}\n' % json.loads(line)["id"])
    sys.stdout.flush()
