"""A worker for bgjob in Python, over psycopg 3. It performs one job at a time; for several at a time, start several.

    def count_words(job):       # outside of any transaction, as long as it takes
        words = len(job.args["text"].split())
        return words, lambda conn: conn.execute("INSERT INTO word_count VALUES (%s, %s)", (job.id, words))

    Worker("dbname=shop", "counter-1", ["text"], {"count_words": count_words}).run()

A job returns its result, and what to do in the transaction that completes it (or None): that is done exactly once. Any exception
fails the job; it is retried, unless the exception's `retry` is False. SIGTERM gives the job in hand back. If the connection is
lost, the work in hand is dropped, for the server gives the job to another worker; this one connects again.
"""
import random, signal, sys, threading, time, traceback

import psycopg
from psycopg.types.json import Jsonb


class Worker:
    def __init__(self, conninfo, name, queues, jobs, lease=60):
        self.conninfo, self.name, self.queues, self.jobs, self.lease = conninfo, name, queues, jobs, lease
        self.stopping = self.interruptible = False

    def run(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, self.on_signal)
        rows, pause = psycopg.rows.namedtuple_row, 0
        while not self.stopping:
            try:    # Without prepared statements, PgBouncer may be in between.
                self.interruptibly(time.sleep, random.uniform(0, pause))
                with psycopg.connect(self.conninfo, autocommit=True, prepare_threshold=None, row_factory=rows) as self.conn:
                    assert self.call("SELECT bgjob_protocol()") == [(1,)], "the server speaks another protocol"
                    pause = 0
                    while not self.stopping:
                        self.take_one()
            except psycopg.OperationalError as error:
                print(f"{self.name}: {error}", file=sys.stderr)
                pause = min(2 * pause + 0.1, 10)
            except KeyboardInterrupt:    # SIGTERM in an idle moment
                pass

    def take_one(self):
        for job in self.call("SELECT * FROM bgjob_fetch(%s, %s, 1, %s)", self.queues, self.name, f"{self.lease} s"):
            return self.perform(job)
        for _, command in self.call("SELECT * FROM bgjob_heartbeat(%s, NULL)", self.name):
            self.stopping |= command == "terminate"
            return self.interruptibly(time.sleep, 5)    # quiet
        self.interruptibly(self.conn.execute, "CALL bgjob_await(%s, '30 s')", [self.queues])

    def perform(self, job):
        if job.job not in self.jobs:    # A newer version of this program knows it.
            return self.answer("release", job, "1 min")
        over = threading.Event()
        beat = threading.Thread(target=self.heartbeat, args=(job, over))
        beat.start()
        try:
            try:
                result, save = self.interruptibly(self.jobs[job.job], job)
            finally:    # From here on, the connection has no other user.
                over.set()
                beat.join()
            with self.conn.transaction():
                if self.answer("complete", job, Jsonb(result)) and save:
                    save(self.conn)
        except KeyboardInterrupt:    # SIGTERM; or the job was deleted, lost (then the answer is ignored), or is out of time
            self.answer("release", job) if self.stopping else self.answer("fail", job, "canceled")
        except Exception as error:
            detail = {"sqlstate": getattr(error, "sqlstate", None) or "38000", "context": traceback.format_exc()}
            self.answer("fail", job, str(error) or repr(error), Jsonb(detail), getattr(error, "retry", True))

    def heartbeat(self, job, over):
        while not over.wait(self.lease / 3):
            try:
                commands = self.call("SELECT * FROM bgjob_heartbeat(%s, %s, %s)", self.name, [job.id], f"{self.lease} s")
            except psycopg.Error:    # The connection is lost.
                commands = []
            if (job.id, "continue") not in commands:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    def call(self, sql, *args):
        return self.conn.execute(sql, args).fetchall()

    def answer(self, function, job, *args):    # Returns whether the job was still this worker's.
        return self.call(f"SELECT bgjob_{function}(%s, %s{', %s' * len(args)})", job.id, self.name, *args)[0][0]

    def on_signal(self, number, frame):
        self.stopping |= number != signal.SIGUSR1
        if self.interruptible:
            self.interruptible = False
            raise KeyboardInterrupt    # for which psycopg also cancels the statement that is running

    def interruptibly(self, function, *args):    # Signals interrupt nothing else: answers arrive whole.
        try:
            self.interruptible = True
            if self.stopping:
                raise KeyboardInterrupt
            return function(*args)
        finally:
            self.interruptible = False
