// The lanes: one entry over each transport, shown on its way as it was measured, slowed down.

import { deliver } from './api.js';
import * as burst from './burst.js';
import { byId, el } from './dom.js';
import { onDepth } from './health.js';
import { duration, hush, number, onLanguage, say } from './i18n.js';
import { TRANSPORTS, mark } from './marks.js';
import * as results from './results.js';
import { queuedFor, untilStored } from './send.js';
import { wire } from './wire.js';

// How long the slowest is under way, in milliseconds.
const SHOWN = 3_500;

// An entry that is in the queue for longer than this, in microseconds, does not slow the others down: it is waited for.
const SHORT = 20_000;

// As long as the text of an entry of a burst, so that the bytes of both can be compared.
const TEXT = 'hello, as long as the text of one of a burst.';

// How long it is looked for at once, before the picture begins; then between two looks. In milliseconds.
const AT_ONCE = 600;
const LOOK = [20, 1_000];

const lanes = {};
const still = matchMedia('(prefers-reduced-motion: reduce)');
let looks = new AbortController();
let busy = false;

export function start() {
  for (const transport of TRANSPORTS) {
    lanes[transport] = lane(transport);
    byId('lanes-rows').append(lanes[transport].node);
  }
  new ResizeObserver(draw).observe(byId('lanes-rows'));
  byId('lanes-send').addEventListener('click', sendOverEach);
  byId('lanes-burst').addEventListener('click', () => burst.run(100, 4));
  burst.onEvent(showBurst);
  onDepth(followQueue);
  onLanguage(() => Object.values(lanes).forEach((own) => own.say?.()));
}

function lane(transport) {
  const time = el('b', { class: 'time' }, '–');
  const word = el('span', { class: 'word' });
  const picture = el('div', { class: 'way' });
  const name = el('div', { class: 'lane-name' }, mark(transport), say(el('small'), `take.${transport}`));
  const node = el(
    'li',
    { class: `lane of-${transport}`, 'data-transport': transport, 'data-state': 'idle' },
    name, picture, el('div', { class: 'lane-result' }, time, word),
  );
  return { transport, node, time, word, picture, queued: 0 };
}

// Draws all anew, for the width that there is.
function draw() {
  for (const own of Object.values(lanes)) {
    const width = Math.floor(own.picture.clientWidth);
    if (own.width === width || width < 200) continue;
    own.wire?.clear();
    own.width = width;
    own.wire = wire(own.transport, width);
    own.picture.replaceChildren(own.wire.node);
    show(own);
  }
}

// What does not move.
function show(own) {
  own.wire.store(own.stored ?? false);
  own.wire.stream(own.streams ?? false);
  own.wire.queue(own.queued);
  if (own.bytes) own.wire.bytes('lanes.bytes', own.bytes);
  else own.wire.bytes('is', { text: '' });
}

// Says how far a lane is. The order of its states is kept: it shows what came first.
function state(own, name) {
  own.node.dataset.state = name;
  own.node.dataset.states = `${own.node.dataset.states ?? ''} ${name}`.trim();
}

function tell(own, time, key, values) {
  say(own.time, 'is', { text: time });
  say(own.word, key, values);
}

async function sendOverEach() {
  // A disabled button would lose the keyboard focus.
  if (busy || burst.isRunning()) return;
  runs(true);
  looks.abort();
  looks = new AbortController();
  const { signal } = looks;
  for (const own of Object.values(lanes)) begin(own);
  // Together they would share one commit, and could not be compared. The first opens connections, and is not shown.
  for (const transport of TRANSPORTS) await send(transport, 'lanes: warm-up');
  const answers = {};
  for (const transport of TRANSPORTS) {
    state(lanes[transport], 'sending');
    answers[transport] = await send(transport, TEXT);
  }
  const queued = answers.rabbitmq?.body.error === false ? look(answers.rabbitmq.body.data, signal) : undefined;
  const stored = await Promise.race([queued, new Promise((resolve) => setTimeout(resolve, AT_ONCE))]);
  const times = TRANSPORTS.map((transport) => answers[transport]?.body.data?.timing_us?.total ?? 0);
  const slowest = Math.max(...times, Math.min(stored ?? 0, SHORT));
  // So many milliseconds for each microsecond.
  const slow = SHOWN / Math.max(slowest, 1);
  // Where nothing was accepted, nothing moves.
  if (slowest > 0) say(byId('lanes-slow'), 'lanes.slow', { times: () => number(Math.round(slow * 1000)) });
  else hush(byId('lanes-slow'));
  await Promise.all(TRANSPORTS.map((transport) => play(lanes[transport], answers[transport], slow, queued)));
  byId('lanes-said').textContent = Object.values(lanes)
    .map((own) => `${own.transport}: ${own.time.textContent} ${own.word.textContent}`)
    .join('; ');
  runs(false);
}

function runs(so) {
  busy = so;
  byId('lanes').dataset.runs = so;
  for (const id of ['lanes-send', 'lanes-burst', 'burst-start']) byId(id).setAttribute('aria-disabled', so);
}

function begin(own) {
  Object.assign(own, { stored: false, streams: false, queued: 0, bytes: undefined, say: undefined, drains: undefined });
  own.wire?.clear();
  if (own.wire) show(own);
  own.node.dataset.states = '';
  own.node.dataset.word = '';
  tell(own, '…', 'lanes.sending');
}

async function send(transport, data) {
  try {
    return await deliver(transport, { name: 'lanes', data });
  } catch {
    return undefined;
  }
}

// Shows what became of an entry, as it was measured; resolves once its answer is shown and, unless that takes long, once
// it is stored.
async function play(own, answer, slow, queued) {
  const move = (...step) => (still.matches || !own.wire ? undefined : own.wire.move(...step));
  if (!answer || answer.body.error) {
    if (answer && !still.matches) await own.wire?.bounce(SHOWN / 3);
    refused(own, answer);
    return;
  }
  const { timing_us: timing, outcome, wire_bytes: bytes } = answer.body.data;
  const inTransport = timing.transport ?? timing.total;
  own.bytes = bytes && { sent: bytes.sent, received: bytes.received };
  if (own.wire) show(own);
  if (outcome === 'queued') {
    const half = inTransport / 2;
    await move('dot', 'broker', 'rabbitmq', half * slow);
    waits(own, 1);
    const back = async () => {
      await move('ring', 'rabbitmq', 'broker', half * slow);
      answered(own, timing, 'lanes.queued', 'queue');
      results.one('rabbitmq', { answered: timing.total, bytes });
    };
    const on = arrive(own, queued, (us) => Math.max(0, us - half) * slow, timing, bytes);
    await back();
    // What stays in the queue is not waited for: it arrives when it does.
    const known = await Promise.race([queued.then(() => true), new Promise((resolve) => setTimeout(resolve, AT_ONCE))]);
    if (known) await on;
    return;
  }
  const store = timing.store ?? 0;
  const half = Math.max(0, inTransport - store) / 2;
  await move('dot', 'broker', 'logger', half * slow);
  await move('dot', 'logger', 'disk', store * slow);
  own.stored = true;
  own.wire?.store(true);
  state(own, 'stored');
  await move('ring', 'disk', 'broker', half * slow);
  answered(own, timing, 'lanes.stored', 'good');
  results.one(own.transport, { answered: timing.total, stored: timing.total, bytes });
}

function answered(own, timing, key, kind) {
  state(own, 'answered');
  own.node.dataset.word = kind;
  const show = (text) => tell(own, text, key);
  own.say = () => show(duration(timing.total));
  own.say();
}

function refused(own, answer) {
  state(own, 'refused');
  own.node.dataset.word = 'bad';
  const key = answer === undefined ? 'lost' : answer.status === 504 ? 'unsure' : 'lanes.refused';
  own.say = () => tell(own, answer ? String(answer.status) : '✕', key);
  own.say();
  results.one(own.transport, {});
}

function waits(own, count) {
  own.queued = count;
  own.wire?.queue(count);
}

// The second half of the way of a queued entry, once it is known when it was stored.
async function arrive(own, queued, rest, timing, bytes) {
  const { signal } = looks;
  const us = await queued;
  if (us === undefined || signal.aborted) return;
  const ms = Math.min(rest(us), SHOWN);
  const step = (from, to, part) => (still.matches || !own.wire ? undefined : own.wire.move('dot', from, to, part * ms));
  waits(own, 0);
  await step('rabbitmq', 'listener', 0.4);
  await step('listener', 'logger', 0.3);
  await step('logger', 'disk', 0.3);
  if (signal.aborted) return;
  own.stored = true;
  own.wire?.store(true);
  state(own, 'stored');
  own.node.dataset.word = 'good';
  results.one(own.transport, { answered: timing.total, stored: us, bytes });
  own.say = () => tell(own, duration(timing.total), 'lanes.queued.stored', { time: duration(us) });
  own.say();
}

// Looks for a queued entry until it is stored; in microseconds after it was created, by the clocks of broker and logger.
async function look({ id }, signal) {
  const entry = await untilStored(id, signal, LOOK);
  return entry && queuedFor(entry);
}

// A burst turns the dots into a stream.
function showBurst({ event, data }) {
  if (event === 'begun') {
    looks.abort();
    hush(byId('lanes-slow'));
    for (const own of Object.values(lanes)) {
      begin(own);
      tell(own, '–', 'is', { text: '' });
      state(own, 'idle');
    }
  }
  const own = lanes[data?.transport];
  if (event === 'progress') {
    stream(own, true);
    if (own.node.dataset.state !== 'streams') state(own, 'streams');
    own.say = () => tell(own, number(data.accepted), 'lanes.rate', { rate: number(data.per_second) });
    own.say();
  }
  if (event === 'measured') {
    stream(own, false);
    own.stored = data.stored > 0;
    own.bytes = data.wire_bytes;
    waits(own, own.transport === 'rabbitmq' ? data.accepted - data.stored : 0);
    if (own.wire) show(own);
    state(own, 'measured');
    const time = () => (data.answered_us ? duration(data.answered_us.median) : '–');
    const comeTo = (kind, key) => {
      own.node.dataset.word = kind;
      own.say = () => tell(own, time(), key, { rate: number(data.per_second) });
      own.say();
    };
    if (own.queued > 0) {
      comeTo('queue', 'lanes.waits');
      own.drains = () => comeTo('good', 'lanes.drained');
    } else {
      comeTo(data.accepted ? 'good' : 'bad', data.accepted ? 'lanes.measured' : 'lanes.none');
    }
  }
  if (event === 'over') Object.values(lanes).forEach((each) => stream(each, false));
}

// The queue is followed during a burst, and after it until it is empty.
function followQueue(depth) {
  const own = lanes.rabbitmq;
  if (own.streams) waits(own, depth);
  if (!own.drains) return;
  // Ready and unacked are counted one after the other: what goes over between may be counted twice.
  waits(own, Math.min(own.queued, depth));
  if (depth > 0) return;
  own.drains();
  own.drains = undefined;
  own.stored = true;
  own.wire?.store(true);
  state(own, 'drained');
}

function stream(own, so) {
  own.streams = so;
  own.wire?.stream(so);
}
