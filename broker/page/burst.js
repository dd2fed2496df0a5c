// A burst of entries over each transport, one transport after the other, so that they do not disturb each other.

import { deliver } from './api.js';
import { byId, el, onceAFrame } from './dom.js';
import { duration, number, say, t } from './i18n.js';
import { TRANSPORTS, mark } from './marks.js';
import { spread } from './spread.js';

let cancelled = false;

export function start() {
  byId('burst-form').addEventListener('submit', (event) => {
    event.preventDefault();
    run(byId('burst-count').valueAsNumber, byId('burst-callers').valueAsNumber);
  });
  // What is on its way is waited for: an entry that is given up may be stored or not.
  byId('burst-cancel').addEventListener('click', () => {
    cancelled = true;
  });
}

async function run(count, callers) {
  cancelled = false;
  busy(true);
  const rows = TRANSPORTS.map(newRow);
  byId('spreads').replaceChildren(...rows.map((row) => row.spread.node));
  byId('burst-table').tBodies[0].replaceChildren(...rows.map((row) => row.node));
  byId('burst-table').hidden = false;
  let trouble;
  for (const row of rows) {
    trouble = await overOne(row, count, callers);
    if (trouble || cancelled) break;
  }
  if (trouble) say(byId('burst-said'), 'burst.refused.all', { message: trouble });
  else say(byId('burst-said'), cancelled ? 'burst.cancelled' : 'burst.done');
  busy(false);
}

function busy(runs) {
  byId('burst').dataset.runs = runs;
  byId('burst-start').disabled = runs;
  byId('burst-cancel').disabled = !runs;
  // A disabled button drops the focus of whoever pressed it.
  byId(runs ? 'burst-cancel' : 'burst-start').focus({ preventScroll: true });
}

// Sends them all over one transport. Returns what makes it useless to go on, if something does.
async function overOne(row, count, callers) {
  const begun = performance.now();
  let next = 0;
  let trouble;
  const draw = onceAFrame(() => row.draw(performance.now() - begun));
  say(byId('burst-said'), 'burst.runs', { transport: row.transport, count });
  const call = async () => {
    while (next < count && !cancelled && !trouble) {
      next += 1;
      trouble ??= await sendOne(row, `${next} of ${count}`);
      draw();
    }
  };
  await Promise.all(Array.from({ length: Math.min(callers, count) }, call));
  row.draw(performance.now() - begun);
  return trouble;
}

async function sendOne(row, data) {
  row.sent += 1;
  let answer;
  try {
    answer = await deliver(row.transport, { name: 'burst', data });
  } catch {
    row.unknown += 1;
    return () => t('unreachable');
  }
  const { status, body, took } = answer;
  if (status === 202) row.take(took);
  else if (status === 504) row.unknown += 1;
  else row.refused += 1;
  return status === 401 || status === 403 ? body.message : undefined;
}

// A line of the table and its picture.
function newRow(transport) {
  const cells = Array.from({ length: 9 }, () => el('td', {}, '–'));
  const node = el('tr', { 'data-transport': transport }, el('th', { scope: 'row' }, mark(transport)), ...cells);
  const took = [];
  const row = { transport, node, spread: spread(transport), sent: 0, refused: 0, unknown: 0 };
  row.take = (us) => {
    took.push(us);
    row.spread.add(us);
  };
  row.draw = (ms) => {
    const sorted = Float64Array.from(took).sort();
    const within = (part) => sorted[Math.ceil(part * sorted.length) - 1];
    const times = [within(0.5), within(0.95), within(0.99), sorted.at(-1)];
    const counts = [row.sent, took.length, row.refused, row.unknown].map((value) => () => number(value));
    const shown = [
      ...counts,
      ...times.map((us) => () => (us === undefined ? '–' : duration(us))),
      () => number((1000 * took.length) / ms),
    ];
    shown.forEach((text, index) => say(cells[index], 'is', { text }));
    row.spread.draw(took.length, times[0]);
  };
  return row;
}
