// What the log says of the order. The log may be down: an order does not need it, and its entries come later.

import { ask } from './api.js';
import * as checks from './checks.js';
import { byId, el } from './dom.js';
import { clock, onLanguage, say, t } from './i18n.js';

// How long between two looks, in milliseconds, and how often after the last news.
const LOOK = 700;
const LOOKS = 8;

let id;
let entries = [];
let failed = false;
let left = 0;

export function start() {
  onLanguage(draw);
  checks.onLook(draw);
}

// Looks a few times more, and for as long as entries wait: what is queued comes later than what is stored at once.
export function follow(order) {
  if (order !== id) [id, entries, failed] = [order, [], false];
  const looking = left > 0;
  left = LOOKS;
  draw();
  if (!looking) keepLooking();
}

async function keepLooking() {
  while (left > 0) {
    if (!document.hidden) await look(id);
    if (!failed && !checks.waiting()) left -= 1;
    await new Promise((resolve) => setTimeout(resolve, LOOK));
  }
}

async function look(order) {
  try {
    const { data } = await ask(`/api/orders/${order}/story`);
    if (order !== id) return;
    failed = false;
    if (data.entries.length >= entries.length) entries = data.entries;
  } catch {
    failed = order === id;
  }
  draw();
}

function draw() {
  const said = byId('story-said');
  said.hidden = !failed;
  if (failed) say(said, checks.fourwire() ? 'story.unreadable' : 'story.unreachable', { waiting: checks.waiting() ?? '–' });
  byId('story').replaceChildren(...entries.map(line));
}

function line({ name, transport, at, reason }) {
  const why = reason ? t(`reason.${reason}`) : '';
  return el('li', { 'data-transport': transport }, el('small', {}, clock(at)), el('span', { class: `mark ${transport}` }, transport), el('code', {}, name), el('small', {}, why));
}
