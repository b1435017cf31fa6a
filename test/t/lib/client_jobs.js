// Runs the client of doc/examples/clients with the jobs of the tests; see BgjobClients.pm.
//
//   node client_jobs.js SERVERS NAME QUEUES LEASE        servers: URIs, separated by spaces
const fs = require('fs');
const sleep = require('timers/promises').setTimeout;
const { Worker } = require('../../../doc/examples/clients/bgjob_client.js');
const [servers, name, queues, lease] = process.argv.slice(2);

async function waitFor(file, signal) {
  while (file && !fs.existsSync(file)) await sleep(20, null, { signal });
}

function insert(db, job) {
  return db.query('INSERT INTO effect VALUES ($1, $2, $3)', [job.id, name, job.attempt]);
}

const jobs = {
  async effect(job, signal) {
    await waitFor(job.args.file, signal);
    const save = async db => { await insert(db, job); await waitFor(job.args.in_transaction); };
    return { result: { worker: name, n: job.args.n }, save };
  },
  async broken(job) {
    throw Object.assign(new Error('it is broken'), { retry: !job.args.final });
  },
  async clash(job) {
    return { save: async db => { await insert(db, job); await db.query('SELECT 1 / 0'); } };
  },
};
new Worker(servers.split(' '), name, queues.split(','), jobs, Number(lease)).run();
