// Sends an entry over HTTP, with nothing but Node's own fetch (Node 18 or newer).
//
// node http_client.mjs BROKER_URL TRANSPORT NAME DATA

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const TRIES = 10;

/** Sends an entry until its outcome is known: stored, queued or duplicate. */
async function log(url, transport, name, data) {
  // An id of one's own makes it safe to send the entry again after any failure.
  const entry = { id: randomUUID(), name, data };
  const body = JSON.stringify({ action: "log", transport, log: entry });
  let message;
  for (let attempt = 0; attempt < TRIES; attempt++) {
    let waitSeconds = 0.1 * 2 ** attempt;
    try {
      const response = await fetch(`${url}/handle`, { method: "POST", body, signal: AbortSignal.timeout(10_000) });
      const answer = await response.json();
      if (response.status === 202) return answer.data.outcome;
      message = answer.message;
      if (![408, 429, 503, 504].includes(response.status)) throw new RangeError(`${response.status}: ${message}`);
      // 504: it may be stored; send it again at once.
      waitSeconds = Number(response.headers.get("retry-after") ?? 0);
    } catch (error) {
      if (error instanceof RangeError) throw error; // fix the entry
      message = String(error.cause ?? error); // no broker, or no answer
    }
    if (attempt + 1 === TRIES) break;
    console.error(`trying again: ${message}`);
    await sleep(1_000 * waitSeconds);
  }
  throw new Error(`not accepted after ${TRIES} tries: ${message}`);
}

const words = process.argv.slice(2);
if (words.length !== 4) {
  console.error("usage: http_client.mjs BROKER_URL TRANSPORT NAME DATA");
  process.exit(2);
}
try {
  console.log(await log(...words));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
