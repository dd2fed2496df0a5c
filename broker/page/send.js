// Sends one entry by one transport, or by all four at once, and shows what became of it.

import { askJson, deliver, link } from './api.js';
import * as commands from './commands.js';
import { byId, el } from './dom.js';
import { duration, say } from './i18n.js';
import { TRANSPORTS, mark } from './marks.js';
import { parts, waterfall } from './waterfall.js';

const ALL = 'all';

// The first wait between two looks for a queued entry and the longest, in milliseconds; each is half as long again as
// the one before.
const LOOK = [50, 2_000];

// Ends the looks of the send before.
let looks = new AbortController();
let busy = false;

export function start() {
  for (const transport of [...TRANSPORTS, ALL]) byId('send-transports').append(choice(transport));
  commands.start(() => ({ transports: chosen(), log: entry() }));
  byId('send-form').addEventListener('input', commands.show);
  byId('send-form').addEventListener('submit', (event) => {
    event.preventDefault();
    send();
  });
  link.addEventListener('key', commands.show);
  commands.show();
}

function choice(transport) {
  const input = el('input', { type: 'radio', name: 'transport', value: transport, checked: transport === ALL });
  const word = transport === ALL ? say(el('span'), 'all') : mark(transport);
  return el('label', { class: 'choice' }, input, word);
}

// What the form says: the entry, with only what differs from the defaults.
function entry() {
  const log = { name: byId('send-name').value, data: byId('send-data').value };
  if (byId('send-level').value !== 'info') log.level = byId('send-level').value;
  if (byId('send-id').value) log.id = byId('send-id').value;
  return log;
}

function chosen() {
  const { value } = document.querySelector('#send-transports input:checked');
  return value === ALL ? TRANSPORTS : [value];
}

async function send() {
  // A disabled button would lose the keyboard focus.
  if (busy) return;
  runs(true);
  looks.abort();
  looks = new AbortController();
  const { signal } = looks;
  const log = entry();
  const rows = chosen().map((transport) => ({ transport, ...card(transport) }));
  const draw = () => {
    const measured = rows.filter((row) => row.parts);
    byId('waterfall').replaceChildren(...(measured.length ? waterfall(measured) : []));
  };
  byId('send-none').hidden = true;
  byId('answers').replaceChildren(...rows.map((row) => row.node));
  draw();
  await Promise.all(rows.map((row) => sendBy(row, log, draw, signal)));
  byId('send-said').textContent = rows.map((row) => `${row.transport}: ${row.outcome.textContent}`).join('; ');
  runs(false);
}

function runs(so) {
  busy = so;
  byId('send').dataset.runs = so;
  byId('send-button').setAttribute('aria-disabled', so);
}

// The place of an answer.
function card(transport) {
  const outcome = say(el('span', { class: 'outcome' }), 'sending');
  const details = el('div');
  const node = el('li', { class: 'answer', 'data-transport': transport }, mark(transport), ' ', outcome, details);
  return { node, outcome, details };
}

// Sends it, and shows the answer.
async function sendBy(row, log, draw, signal) {
  let answer;
  try {
    answer = await deliver(row.transport, log);
  } catch {
    row.node.classList.add('bad');
    row.node.insertBefore(el('b', {}, '✕ '), row.outcome);
    say(row.outcome, 'lost');
    return;
  }
  const { status, body, took } = answer;
  const { data } = body;
  row.node.classList.add(body.error ? 'bad' : 'good');
  row.node.dataset.status = status;
  row.node.insertBefore(el('b', {}, body.error ? '✕ ' : '✓ ', String(status), ' '), row.outcome);
  say(row.outcome, body.error ? certainty(status) : data.outcome);
  // The broker's own words are in English alone.
  if (body.error) row.details.append(el('p', { class: 'message', lang: 'en' }, body.message));
  row.details.append(
    say(el('p', { class: 'hint' }), 'seen.here', { time: () => duration(took) }),
    el('details', {}, say(el('summary'), 'json'), el('pre', { class: 'code' }, JSON.stringify(body, null, 2))),
  );
  if (!body.error) row.parts = parts(data.timing_us);
  draw();
  if (!body.error && data.outcome === 'queued') lookFor(data.id, row, draw, signal);
}

// What a refusal says of the entry: the three cases of `Certainty` in proto/src/code.rs.
function certainty(status) {
  if (status === 504) return 'unsure';
  return [408, 429, 502, 503].includes(status) ? 'not.stored' : 'rejected';
}

// Looks for a queued entry until it is stored, or something else is sent.
async function lookFor(id, row, draw, signal) {
  const said = say(el('p', { class: 'queue', role: 'status' }), 'queue.waits');
  row.details.prepend(said);
  const stored = await untilStored(id, signal, LOOK);
  if (!stored) {
    say(said, 'queued');
    return;
  }
  if (stored.transport !== row.transport || stored.attempts > 1) {
    say(said, 'queue.known', { transport: stored.transport });
    return;
  }
  row.queue = queuedFor(stored);
  say(said, 'queue.took', { time: () => duration(row.queue) });
  draw();
}

// Looks for a queued entry until it is stored; `undefined` where nobody waits any more, or the key may not read. `first` and
// `most` are the wait between two looks, in milliseconds.
export async function untilStored(id, signal, [first, most]) {
  for (let wait = first; !signal.aborted; wait = Math.min(1.5 * wait, most)) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    try {
      const { status, body } = await askJson(`/logs/${id}`, { signal });
      if (status === 200) return body.data;
      if (status === 401 || status === 403) return undefined;
    } catch {
      // The broker may be back later.
    }
  }
  return undefined;
}

// How long an entry took from created to stored, in microseconds, by the clocks of broker and logger.
export const queuedFor = (entry) => Math.max(0, micros(entry.stored_at) - micros(entry.created_at));

// An RFC 3339 time in microseconds, of which a Date would keep the milliseconds alone.
function micros(time) {
  const [, seconds, fraction = ''] = /^([^.]*)(?:\.(\d+))?Z$/.exec(time);
  return Date.parse(`${seconds}Z`) * 1000 + Number(fraction.slice(0, 6).padEnd(6, '0'));
}
