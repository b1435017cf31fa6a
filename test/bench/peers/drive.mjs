// Drives graphile-worker where graphile.mjs does not: counts in the tasks instead of in the table, and has tasks that write.
//
//   node drive.mjs migrate                                        only makes the schema
//   node drive.mjs drain N CONCURRENCY plain|batched noop|update  prints "ready", waits for a line, prints the rate
//   node drive.mjs idle SECONDS                                   10 at once and nothing to do; prints "idle", waits
//
// Connects by the usual PG* variables. The modes are those of graphile.mjs: "plain" are the defaults, "batched" is a
// local queue of 500 with completions in batches. "update" changes row `id` of table bench_row, which must be there.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import pg from 'pg';

const batched = { localQueue: { size: 500, refetchDelay: { durationMs: 10 } }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
const silent = new Logger(() => () => {});

// start runs the worker with one task and the given concurrency.
const start = (pgPool, concurrentJobs, mode, taskList) => run({
  pgPool, taskList, logger: silent, noHandleSignals: true,
  preset: { worker: { concurrentJobs, pollInterval: 2000, ...(mode === 'batched' ? batched : {}) } },
});

// fill puts n jobs in and has this session's statistics reported.
async function fill(pool, n) {
  await pool.query(`select count(*) from graphile_worker.add_jobs(array(
    select row('job', json_build_object('id', i), null, null, null, null, null, null)::graphile_worker.job_spec
    from generate_series(1, $1::int) i))`, [n]);
  await pool.query('vacuum analyze');
  await pool.query('select pg_stat_force_next_flush()');
}

// drain measures from the start of the first job until none is left.
async function drain(pool, n, concurrency, mode, what) {
  await fill(pool, n);
  console.log('ready');
  await once(process.stdin, 'data');

  let began = 0, done = 0, finished;
  const all = new Promise((resolve) => { finished = resolve; });
  const job = async (payload, helpers) => {
    began ||= performance.now();
    if (what === 'update') await helpers.query('update bench_row set n = n + 1 where id = $1', [payload.id]);
    if (++done === n) finished();
  };
  const runner = await start(pool, concurrency, mode, { job });
  await all;
  while (+(await pool.query('select count(*) c from graphile_worker._private_jobs')).rows[0].c > 0) await sleep(1);
  console.log('jobs per second', Math.round(n / (performance.now() - began) * 1000));
  await runner.stop();
}

// idle has nothing to do for a while.
async function idle(pool, seconds) {
  const runner = await start(pool, 10, 'plain', { job: async () => {} });
  await sleep(2000);
  console.log('idle');
  await sleep(seconds * 1000);
  console.log('over');
  await sleep(500);
  await runner.stop();
}

const [mode, ...args] = process.argv.slice(2);
const pool = new pg.Pool({ max: 20 });
pool.on('error', () => {});
const utils = await makeWorkerUtils({ pgPool: pool, logger: silent });
await utils.migrate();
if (mode === 'drain') await drain(pool, +args[0], +args[1], args[2], args[3]);
else if (mode === 'idle') await idle(pool, +args[0]);
else if (mode !== 'migrate') process.exitCode = 2;
await utils.release();
await pool.end();
process.exit();
