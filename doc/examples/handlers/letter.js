#!/usr/bin/env node
// A handler in Node: one process for many jobs. It needs nothing but Node.
//
//   bgjob-worker --dbname shop --queue letters --concurrency 4 --name letters-1 --persistent -- ./letter.js
//   SELECT bgjob_enqueue('letter', '{"text": "Dear {name}", "values": {"name": "Ada"}}', kind => 'external', queue => 'letters');
//
// Jobs are lines of JSON on standard input, and each is answered by a line on standard output. So console.log goes to the job's log,
// that is to standard error. State between two jobs (connections, caches) belongs into variables of this file.
'use strict';
const fs = require('fs');
const readline = require('readline');

console.log = console.error;

function progress(percent, message) {
  fs.writeSync(Number(process.env.BGJOB_FD), JSON.stringify({ progress: percent, message }) + '\n');
}

const jobs = {
  async letter({ text, values }) {
    let inserted = 0;
    const letter = text.replace(/\{(\w+)\}/g, (_, name) => {
      if (!(name in values)) throw Object.assign(new Error(`there is no value for ${name}`), { retry: false });
      inserted += 1;
      return values[name];
    });
    progress(100, `${inserted} values`);
    return letter;
  },
};

async function perform({ id, job, args }) {
  if (!Object.hasOwn(jobs, job)) return { id, release: true };
  try {
    return { id, result: await jobs[job](args) };
  } catch (error) {
    console.error(error.stack);
    return { id, error: error.message, retry: error.retry !== false };
  }
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await perform(JSON.parse(line))) + '\n');
  }
})();
