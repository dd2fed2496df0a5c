// The live tail: what is stored, as it is stored.

import { link } from './api.js';
import { byId, el, onceAFrame } from './dom.js';
import { clock, onLanguage, say } from './i18n.js';
import { TRANSPORTS, mark } from './marks.js';
import { follow } from './stream.js';

// Most rows that are kept, shown or not.
const ROWS = 200;

// Most characters of a text that are shown.
const SHOWN = 2_000;

// A browser that is so many entries behind skips them: it shows only the last ones anyway.
const LAG = 10_000;

// How long after the last key a filter is taken, in milliseconds.
const TYPING = 400;

const FILTERS = ['transport', 'level', 'name', 'contains'];

let stop = () => {};
let paused = false;
// Rows that are not shown yet, oldest first, and how many have come since the pause.
let waiting = [];
let arrived = 0;
let state = { word: 'connecting' };

const show = onceAFrame(() => {
  if (paused) {
    count();
    return;
  }
  const rows = byId('tail-rows');
  rows.prepend(...waiting.splice(0).reverse().map((make) => make()));
  while (rows.children.length > ROWS) rows.lastChild.remove();
});

export function start() {
  for (const transport of TRANSPORTS) byId('tail-transport').append(el('option', {}, transport));
  let typing;
  byId('tail-form').addEventListener('submit', (event) => event.preventDefault());
  byId('tail-form').addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(connect, TYPING);
  });
  byId('tail-pause').addEventListener('click', () => pause(!paused));
  byId('tail-clear').addEventListener('click', clear);
  link.addEventListener('key', connect);
  onLanguage(() => {
    for (const time of document.querySelectorAll('#tail-rows time')) time.textContent = clock(new Date(time.dateTime));
  });
  connect();
}

// Begins anew, with the filters as they are.
function connect() {
  stop();
  clear();
  const query = new URLSearchParams({ max_lag: LAG });
  for (const name of FILTERS) {
    const { value } = byId(`tail-${name}`);
    if (value) query.set(name, value);
  }
  stop = follow(`/logs/stream?${query}`, { event: take, state: tell });
}

function clear() {
  waiting = [];
  arrived = 0;
  byId('tail-rows').replaceChildren();
  count();
}

function pause(wanted) {
  paused = wanted;
  arrived = 0;
  say(byId('tail-pause'), paused ? 'tail.resume' : 'tail.pause');
  tell(state.word, state.message);
  count();
  show();
}

function take({ event, data }) {
  if (event === 'entry') add(row, JSON.parse(data));
  else if (event === 'missed') add(gap, JSON.parse(data));
  else if (event === 'state') tell(JSON.parse(data).connected ? 'live' : 'outage');
}

function add(make, about) {
  waiting.push(() => make(about));
  if (waiting.length > ROWS) waiting.shift();
  arrived += 1;
  show();
}

// Says how the connection is; what is said during a pause is said after it.
function tell(word, message) {
  if (word === 'renewed') {
    add(gap, {});
    return;
  }
  state = { word, message };
  const said = byId('tail-said');
  said.dataset.state = paused ? 'paused' : word;
  if (paused) say(said, 'tail.paused');
  else say(said, `tail.${word}`, { message });
}

// Apart from that, since it changes too often to be read out.
function count() {
  byId('tail-new').hidden = !paused;
  say(byId('tail-new'), 'tail.new', { count: arrived });
}

function row({ id, name, data, level, stored_at: at, transport }) {
  const time = el('time', { datetime: at }, clock(new Date(at)));
  const text = el('bdi', { class: 'data' }, data.slice(0, SHOWN));
  const more = data.length - SHOWN;
  if (more > 0) text.append(' ', say(el('i'), 'more', { count: more }));
  return el(
    'li',
    { 'data-id': id, 'data-transport': transport },
    time,
    mark(transport),
    el('span', { class: `level ${level}` }, level),
    el('bdi', { class: 'name' }, name),
    text,
  );
}

// A place where entries are missing.
function gap({ count }) {
  const said = count === undefined ? say(el('b'), 'missed.unknown') : say(el('b'), 'missed', { count });
  return el('li', { class: 'missed' }, '⚠ ', said);
}
