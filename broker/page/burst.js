// A burst over each transport. The broker sends and measures it: a browser would measure itself.

import { ask, link } from './api.js';
import { byId } from './dom.js';
import { say, t } from './i18n.js';
import { parser } from './stream.js';

const listeners = new Set();
let running;

export function start() {
  byId('burst-form').addEventListener('submit', (event) => {
    event.preventDefault();
    run(byId('burst-count').valueAsNumber, byId('burst-callers').valueAsNumber);
  });
  byId('burst-cancel').addEventListener('click', () => running?.abort());
  link.addEventListener('key', () => running?.abort());
}

export const isRunning = () => running !== undefined;

// Calls back with each event of a burst, `{ event, data }`, and with `over` at its end, however that came.
export const onEvent = (listener) => listeners.add(listener);

export async function run(entries, concurrency) {
  if (running || byId('lanes').dataset.runs === 'true') return;
  running = new AbortController();
  const { signal } = running;
  busy(true);
  let ended;
  try {
    const body = JSON.stringify({ entries, concurrency });
    const response = await ask('/burst', { method: 'POST', body, signal });
    if (response.status === 200) ended = await read(response, entries);
    else ended = ['burst.refused', { message: (await response.json()).message }];
  } catch {
    ended = signal.aborted ? ['burst.cancelled'] : ['burst.refused', { message: () => t('unreachable') }];
  }
  say(byId('burst-said'), ...(ended ?? ['burst.broken']));
  running = undefined;
  tell({ event: 'over' });
  busy(false);
}

// Reads the events to their end; what is to be said then.
async function read(response, entries) {
  let why;
  const parse = parser(({ event, data }) => {
    const told = JSON.parse(data);
    if (event === 'progress') {
      say(byId('burst-said'), 'burst.runs', { transport: told.transport, sent: told.sent, count: entries });
    }
    if (event === 'ended') why = told.why === 'done' ? ['burst.done'] : ['burst.drained'];
    tell({ event, data: told });
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) parse(piece.value);
  return why;
}

function tell(event) {
  for (const listener of listeners) listener(event);
}

function busy(runs) {
  byId('burst').dataset.runs = runs;
  byId('burst-cancel').disabled = !runs;
  for (const id of ['burst-start', 'lanes-burst']) byId(id).setAttribute('aria-disabled', runs);
}
