// A client of bgjob in Node: so many connections, each fetching one external job and completing it, until so many are done.
//
//   node external.mjs CLIENTS JOBS         prints "ready", waits for a line, prints the rate, waits for the end of the input
//
// It is as simple as a client can be, and uses the same driver as graphile-worker: the difference to the client in C is
// what Node costs. Connects by the usual PG* variables.
import { once } from 'node:events';
import pg from 'pg';

const fetch = { name: 'fetch', text: 'select * from bgjob_fetch($1, $2, 1)' };
const complete = { name: 'complete', text: 'select bgjob_complete($1, $2) as done' };

const [clients, jobs] = process.argv.slice(2).map(Number);
let done = 0;

// perform fetches and completes until all jobs are done.
async function perform(client, worker) {
  while (done < jobs) {
    const { rows } = await client.query({ ...fetch, values: [['*'], worker] });
    for (const job of rows) {
      const answer = await client.query({ ...complete, values: [job.id, worker] });
      if (answer.rows[0].done) done++;
    }
  }
}

const connections = [];
for (let i = 0; i < clients; i++) {
  const client = new pg.Client();
  await client.connect();
  connections.push(client);
}
console.log('ready');
await once(process.stdin, 'data');
const began = performance.now();
await Promise.all(connections.map((client, i) => perform(client, `bench ${i + 1}`)));
console.log('jobs per second', Math.round(done / (performance.now() - began) * 1000));
await once(process.stdin, 'end');
await Promise.all(connections.map((client) => client.end()));
