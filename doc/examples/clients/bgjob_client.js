// A worker for bgjob in Node, over pg. It performs one job at a time; for several at a time, create several, each with its name.
//
//   async function countWords(job, signal) {     // outside of any transaction, as long as it takes, until the signal aborts it
//     const words = job.args.text.split(/\s+/).length;
//     return { result: words, save: db => db.query('INSERT INTO word_count VALUES ($1, $2)', [job.id, words]) };
//   }
//   new Worker(['postgres://db1/shop', 'postgres://db2/shop'], 'counter-1', ['text'], { count_words: countWords }).run();
//
// What `save` does in the transaction that completes the job is done exactly once. Any error fails the job; it is retried, unless
// the error's `retry` is false. SIGTERM aborts the job in hand and gives it back. If the connection is lost, the work in hand is
// dropped, for the server gives the job to another worker; this one connects again, to the next server that is no standby.
const { Client } = require('pg');
const sleep = require('timers/promises').setTimeout;

exports.Worker = class Worker {
  constructor(servers, name, queues, jobs, lease = 60) {
    Object.assign(this, { servers, name, queues, jobs, lease, stopping: false });
    this.stopped = new Promise(resolve => { this.wake = resolve; });
  }

  async run() {
    for (const name of ['SIGTERM', 'SIGINT']) process.on(name, () => this.stop());
    for (let attempt = 0, pause = 0; !this.stopping; pause = Math.min(2 * pause + 100, 10000)) {
      await sleep(Math.random() * pause);
      const connectionString = this.servers[attempt++ % this.servers.length];
      this.db = new Client({ connectionString, keepAlive: true, connectionTimeoutMillis: 5000, query_timeout: 60000 });
      this.db.on('error', () => {});    // The query that is running fails with it, or the next one.
      try {
        await this.db.connect();
        const [server] = await this.call('SELECT pg_is_in_recovery() AS standby, bgjob_protocol() AS protocol');
        if (server.standby || server.protocol !== 1) throw new Error('this is a standby, or speaks another protocol');
        for (pause = 0; !this.stopping;) await this.takeOne();
      } catch (error) {
        if (!this.stopping) console.error(`${this.name}: ${error.message}`);
      }
      this.db.end().catch(() => {});
    }
  }

  async takeOne() {
    const [job] = await this.call('SELECT * FROM bgjob_fetch($1, $2, 1, $3)', this.queues, this.name, `${this.lease} s`);
    if (job) return this.perform(job);
    const [order] = await this.call('SELECT command FROM bgjob_heartbeat($1, NULL)', this.name);
    if (order) return order.command === 'terminate' ? this.stop() : sleep(5000);     // quiet
    await Promise.race([this.call("CALL bgjob_await($1, '30 s')", this.queues), this.stopped]);
  }

  async perform(job) {
    if (!(job.job in this.jobs)) return this.answer('release', job, '1 min');     // A newer version of this program knows it.
    this.abort = new AbortController();
    if (this.stopping) this.abort.abort();
    try {
      const work = async () => this.jobs[job.job](job, this.abort.signal);
      const { result, save } = await work().finally(this.heartbeat(job, this.abort));
      await this.transaction(async () => {
        if (await this.answer('complete', job, JSON.stringify(result ?? null)) && save) await save(this.db);
      });
    } catch (error) {
      if (this.stopping && this.abort.signal.aborted) return this.answer('release', job);
      const detail = { sqlstate: error.severity ? error.code : '38000', context: error.stack };     // else it is Node's
      return this.answer('fail', job, error.message, detail, error.retry !== false);
    }
  }

  heartbeat(job, abort) {               // returns a function that ends it, so that the connection has no other user
    let beat;
    const timer = setInterval(() => {
      beat = this.call('SELECT * FROM bgjob_heartbeat($1, $2, $3)', this.name, [job.id], `${this.lease} s`).catch(() => [])
        .then(answers => answers.some(({ id, command }) => id === job.id && command === 'continue') || abort.abort());
    }, this.lease * 1000 / 3);
    return () => (clearInterval(timer), beat);
  }

  async answer(name, job, ...args) {    // returns whether the job was still this worker's
    const more = args.map((_, i) => `, $${i + 3}`).join('');
    return (await this.call(`SELECT bgjob_${name}($1, $2${more}) AS accepted`, job.id, this.name, ...args))[0].accepted;
  }

  async call(sql, ...values) {
    return (await this.db.query(sql, values)).rows;
  }

  async transaction(work) {
    await this.db.query('BEGIN');
    try {
      await work();
      await this.db.query('COMMIT');
    } catch (error) {
      await this.db.query('ROLLBACK');
      throw error;
    }
  }

  stop() {
    this.stopping = true;
    this.abort?.abort();
    this.wake();
  }
};
