#!/usr/bin/env python3
"""A handler in Python: one process for many jobs, or one for each. It needs nothing but Python.

    bgjob-worker --dbname shop --queue reports --concurrency 4 --name reports-1 --persistent -- ./report.py
    SELECT bgjob_enqueue('sum_column', '{"csv": "id,price\\n1,2.50\\n2,4", "column": "price"}', kind => 'external', queue => 'reports');

With --persistent, jobs are lines of JSON on standard input, and each is answered by a line on standard output. Without it, the
arguments are on standard input, and the result goes to standard output. So what a job prints goes to its log, that is to standard
error. State between two jobs (connections, caches) belongs into global variables.
"""
import csv
import io
import json
import os
import sys
import traceback
from decimal import Decimal

answers, sys.stdout = sys.stdout, sys.stderr


class DoNotRetry(Exception):
    """The job cannot succeed, however often it is tried."""


def progress(percent, message=None):
    os.write(int(os.environ["BGJOB_FD"]), json.dumps({"progress": percent, "message": message}).encode() + b"\n")


def sum_column(csv_text, column):
    rows = list(csv.DictReader(io.StringIO(csv_text)))
    if rows and column not in rows[0]:
        raise DoNotRetry(f"there is no column {column}")
    progress(50, f"{len(rows)} rows")
    return {"rows": len(rows), "sum": str(sum(Decimal(row[column]) for row in rows))}


JOBS = {"sum_column": lambda args: sum_column(args["csv"], args["column"])}


def perform(name, args):
    """Returns the answer of a persistent handler, but for the id."""
    if name not in JOBS:
        return {"release": True}
    try:
        return {"result": JOBS[name](args)}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}", "retry": not isinstance(error, DoNotRetry)}


def many():
    for line in sys.stdin.buffer:
        job = json.loads(line)
        print(json.dumps({"id": job["id"], **perform(job["job"], job["args"])}), file=answers, flush=True)


def one():
    answer = perform(os.environ["BGJOB_JOB"], json.load(sys.stdin.buffer))
    if "result" in answer:
        print(json.dumps(answer["result"]), file=answers)
    elif "release" in answer:
        sys.exit(os.EX_UNAVAILABLE)
    else:
        sys.exit(os.EX_TEMPFAIL if answer["retry"] else os.EX_DATAERR)


if __name__ == "__main__":
    one() if "BGJOB_ID" in os.environ else many()
