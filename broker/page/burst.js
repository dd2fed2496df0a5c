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
    run(byId('burst-count').valueAsNumber, byId('burst-concurrency').valueAsNumber);
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
  byId('burst-ended').textContent = '';
  let response;
  let ended;
  try {
    const body = JSON.stringify({ entries, concurrency });
    response = await ask('/burst', { method: 'POST', body, signal });
    if (response.status === 200) ended = await read(response, entries);
    else ended = ['burst.refused', { message: (await response.json()).message }];
  } catch {
    if (signal.aborted) ended = ['burst.cancelled'];
    else if (response?.status !== 200) ended = ['burst.refused', { message: () => t('unreachable') }];
    // Otherwise it had begun, and the connection broke.
  }
  say(byId('burst-said'), ...(ended ?? ['burst.broken']));
  // Read out once, where the progress is not.
  byId('burst-ended').textContent = byId('burst-said').textContent;
  // From the lanes the form may be out of sight.
  if (ended?.[0] === 'burst.refused') say(byId('lanes-slow'), ...ended);
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
  // Disabled, it would lose the keyboard focus.
  if (!runs && document.activeElement === byId('burst-cancel')) byId('burst-start').focus();
  byId('burst-cancel').disabled = !runs;
  // Truly disabled these would lose it too.
  for (const id of ['burst-start', 'lanes-burst', 'lanes-send']) byId(id).setAttribute('aria-disabled', runs);
}
