"""Runs the client of doc/examples/clients with the jobs of the tests; see BgjobClients.pm.

    python3 client_jobs.py CONNINFO NAME QUEUES LEASE
"""
import os, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../doc/examples/clients"))
from bgjob_client import Worker


class Final(Exception):
    retry = False


def wait_for(file):
    while file and not os.path.exists(file):
        time.sleep(0.02)


def effect(job):
    def save(conn):
        conn.execute("INSERT INTO effect VALUES (%s, %s, %s)", (job.id, sys.argv[2], job.attempt))
        wait_for(job.args.get("in_transaction"))

    wait_for(job.args.get("file"))
    return {"worker": sys.argv[2], "n": job.args.get("n")}, save


def broken(job):
    raise (Final if job.args.get("final") else ValueError)("it is broken")


def clash(job):
    def save(conn):
        conn.execute("INSERT INTO effect VALUES (%s, %s, %s)", (job.id, sys.argv[2], job.attempt))
        conn.execute("SELECT 1 / 0")

    return None, save


Worker(sys.argv[1], sys.argv[2], sys.argv[3].split(","), {"effect": effect, "broken": broken, "clash": clash}, lease=float(sys.argv[4])).run()
