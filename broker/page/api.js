// Talks with the broker: the one place that asks for anything. It sends the key, if there is one, and tells the
// listeners of `link` whether the broker was reached, and what it thinks of the key.

import { recall, remember } from './dom.js';

const STORED = 'fourwire-key';

// Above the broker's longest deadline: what accepts a connection and says nothing for so long is no broker that works.
const PATIENCE = 10_000;

let key = recall('sessionStorage', STORED);

export const link = new EventTarget();

export const hasKey = () => Boolean(key);

export function useKey(value) {
  key = value || null;
  remember('sessionStorage', STORED, key);
  link.dispatchEvent(new Event('key'));
}

// Asks the broker. Throws if there is no answer at all.
export async function ask(path, { headers = {}, ...options } = {}) {
  const authorization = key ? { Authorization: `Bearer ${key}` } : {};
  let response;
  try {
    response = await fetch(path, { cache: 'no-store', ...options, headers: { ...headers, ...authorization } });
  } catch (error) {
    // A request that was given up says nothing of the broker.
    if (!options.signal?.aborted || options.signal.reason?.name === 'TimeoutError') tell('lost');
    throw error;
  }
  tell('reached');
  if (response.status === 401) tell('locked');
  return response;
}

// The same, with the envelope that stands in every answer, and the time that it took in microseconds; for a while at most.
export async function askJson(path, { signal, ...options } = {}) {
  const begun = performance.now();
  const patience = AbortSignal.timeout(PATIENCE);
  const limited = signal ? AbortSignal.any([signal, patience]) : patience;
  const response = await ask(path, { ...options, signal: limited });
  const body = await response.json();
  // A proxy has answered in its place.
  if (typeof body?.error !== 'boolean') throw new TypeError('not an answer of the broker');
  return { status: response.status, body, took: (performance.now() - begun) * 1000 };
}

// Sends an entry by a transport.
export function deliver(transport, log, options) {
  return askJson('/handle', { ...options, method: 'POST', body: request(transport, log) });
}

// The body of that.
export const request = (transport, log) => JSON.stringify({ action: 'log', transport, log });

function tell(what) {
  link.dispatchEvent(new Event(what));
}
