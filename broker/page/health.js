// How each part of the system is, and how many entries wait: looked at every second while somebody can see it.

import { askJson, link } from './api.js';
import { byId, el, svg } from './dom.js';
import { hush, label, number, onLanguage, say } from './i18n.js';

const PARTS = ['broker', 'logger', 'rabbitmq', 'listener'];

// Between two looks, how long one may take, both in milliseconds; and how many depths are kept: a minute of them.
const EVERY = 1_000;
const PATIENCE = 4_000;
const KEPT = 60;

// The least that the scale of depths ends at: one entry shall not look like a hundred.
const LEAST = 10;

const cards = {};
const listeners = new Set();
let depths = [];
let latest;

// Calls back with the queue's depth at each look that knows it. While nobody says what the listener holds, an empty queue
// may not be all.
export const onDepth = (listener) => listeners.add(listener);

export function start() {
  for (const part of PARTS) {
    const state = el('span', { class: 'state' });
    const role = say(el('small'), `${part}.role`);
    const more = el('small', { class: 'more' });
    const chip = el('summary', {}, say(el('b'), part), ' ', state);
    cards[part] = { node: el('li', { id: `part-${part}` }, el('details', {}, chip, el('p', {}, role, ' ', more))), state, more };
    byId('parts').append(cards[part].node);
    tell(part, 'unknown');
  }
  onLanguage(() => latest && showNumbers(latest));
  drawHistory();
  look();
}

async function look() {
  for (;;) {
    if (document.hidden) {
      await once(document, 'visibilitychange');
      depths = [];
    }
    const locked = await lookOnce();
    // Without a key that may read there is nothing to see, however often one asks.
    if (locked) await once(link, 'key');
    else await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
}

// Says whether the key is not enough.
async function lookOnce() {
  let answer;
  try {
    answer = await askJson('/status', { signal: AbortSignal.timeout(PATIENCE) });
  } catch {
    showNothing('silent');
    return false;
  }
  if (answer.status === 200) show(answer.body.data);
  else showNothing('ready');
  if (answer.status === 403) link.dispatchEvent(new Event('blind'));
  return answer.status === 401 || answer.status === 403;
}

function once(target, name) {
  return new Promise((resolve) => target.addEventListener(name, resolve, { once: true }));
}

function show(status) {
  latest = status;
  const { broker, logger, loggers = [], listener, rabbitmq } = status;
  tell('broker', broker.draining ? 'draining' : 'ready', broker.ready);
  tell('logger', word(logger.reachable, logger.ready ? 'ready' : 'unready'), logger.ready);
  showLoggers(loggers);
  tell('rabbitmq', word(rabbitmq.reachable, 'takes'), rabbitmq.reachable);
  // What it holds it cannot store while the logger is down, whatever it still consumes.
  const stuck = listener.waiting_for === 'logger' || (listener.held > 0 && !logger.ready) || listener.dead_letters_refused;
  tell('listener', word(listener.reachable, listener.consuming && !stuck ? 'consuming' : 'waiting'), listener.consuming && !stuck);
  if (listener.reachable) say(cards.listener.more, 'listener.holds', { count: listener.held ?? 0 });
  else hush(cards.listener.more);
  const { profile } = broker;
  byId('profile').hidden = profile === 'release';
  say(byId('profile'), 'profile', { profile });
  const depth = showNumbers(status);
  depths = [...depths, depth].slice(-KEPT);
  drawHistory();
  if (depth > 0 || (depth === 0 && listener.unacked !== null)) listeners.forEach((tell) => tell(depth));
}

// Of several, which responds and which does not.
function showLoggers(loggers) {
  const { more } = cards.logger;
  if (loggers.length < 2) {
    hush(more);
    return;
  }
  const which = loggers.map(({ address, ready }) => `${ready ? '✓' : '✕'} ${address}`).join(', ');
  const up = loggers.filter(({ reachable }) => reachable).length;
  say(more, 'logger.several', { up, count: loggers.length, which });
}

const word = (reachable, otherwise) => (reachable ? otherwise : 'silent');

// The broker alone is known, and that it is `state`.
function showNothing(state) {
  latest = undefined;
  tell('broker', state, state === 'ready');
  for (const part of PARTS.slice(1)) tell(part, 'unknown');
  for (const part of ['logger', 'listener']) hush(cards[part].more);
  byId('queue-depth').textContent = byId('dead-letters').textContent = '–';
  hush(byId('queue-parts'));
  depths = [...depths, undefined].slice(-KEPT);
  drawHistory();
}

// What a part is said to be, with a sign before it: well, not well, or nobody knows.
function tell(part, key, well) {
  const { node, state } = cards[part];
  const sign = key === 'unknown' ? '?' : well ? '✓' : '✕';
  const name = { '?': 'unknown', '✓': 'good', '✕': 'bad' }[sign];
  if (node.dataset.state === key && node.className === name) return;
  node.dataset.state = key;
  node.className = name;
  state.replaceChildren(el('span', { 'aria-hidden': 'true' }, `${sign} `), say(el('span'), key));
}

function showNumbers({ rabbitmq, listener }) {
  const { queue, dead_letters: dead } = rabbitmq;
  const depth = queue === null ? undefined : queue + (listener.unacked ?? 0);
  byId('queue-depth').textContent = depth === undefined ? '–' : number(depth);
  byId('dead-letters').textContent = dead === null ? '–' : number(dead);
  if (depth === undefined) hush(byId('queue-parts'));
  else say(byId('queue-parts'), 'queue.parts', { ready: queue, held: listener.unacked ?? '?' });
  return depth;
}

// The depths of the last minute as bars, the latest at the right, on an axis that says where it ends.
function drawHistory() {
  const known = depths.filter((depth) => depth !== undefined);
  const most = Math.max(0, ...known);
  const scale = round(most);
  const width = 100 / KEPT;
  const bars = depths.map((depth = 0, index) => {
    const height = (100 * depth) / scale;
    return svg('rect', {
      x: `${100 - (depths.length - index) * width}%`,
      y: `${100 - height}%`,
      width: `${0.8 * width}%`,
      height: `${height}%`,
    });
  });
  const half = svg('line', { x1: 0, x2: '100%', y1: '50%', y2: '50%' });
  const picture = label(svg('svg', { role: 'img' }, half, ...bars), 'queue.history', { most });
  const ends = [scale, scale / 2, 0].map((value) => say(el('span'), 'is', { text: () => number(value) }));
  const axis = el('div', { class: 'ends', 'aria-hidden': 'true' }, ...ends);
  byId('queue-history').replaceChildren(axis, picture, say(el('small'), 'queue.minute'));
}

// The next of 10, 20, 50, 100, 200, …
function round(depth) {
  for (let scale = LEAST; ; scale *= 10) {
    for (const times of [1, 2, 5]) if (depth <= times * scale) return times * scale;
  }
}
