// A live picture of latencies: how many answers took how long, on a logarithmic scale, the same for all transports.

import { el, svg } from './dom.js';
import { duration, label, number, say } from './i18n.js';
import { mark } from './marks.js';

// From a tenth of a millisecond to ten seconds, in microseconds, with so many columns for each power of ten.
const FROM = 100;
const DECADES = 5;
const PER_DECADE = 10;
const COLUMNS = DECADES * PER_DECADE;

const place = (us) => Math.min(1, Math.max(0, Math.log10(us / FROM) / DECADES));

// A picture with nothing in it yet.
export function spread(transport) {
  const counts = new Array(COLUMNS).fill(0);
  const width = 100 / COLUMNS;
  const bars = counts.map((_, column) => svg('rect', { x: `${column * width}%`, width: `${0.85 * width}%` }));
  const middle = svg('line', { y1: 0, y2: '100%', class: 'middle' });
  const picture = svg('svg', { class: `spread of-${transport}`, role: 'img' }, ...decades(), ...bars, middle);
  label(picture, 'spread.none', { transport });
  const node = el('figure', {}, el('figcaption', {}, mark(transport)), picture, axis());

  const add = (us) => {
    counts[Math.min(COLUMNS - 1, Math.floor(place(us) * COLUMNS))] += 1;
  };
  // `median` as the table has it, so that the two agree.
  const draw = (count, median) => {
    const most = Math.max(...counts);
    if (!most) return;
    bars.forEach((bar, column) => {
      const height = (100 * counts[column]) / most;
      bar.setAttribute('y', `${100 - height}%`);
      bar.setAttribute('height', `${height}%`);
    });
    for (const end of ['x1', 'x2']) middle.setAttribute(end, `${100 * place(median)}%`);
    label(picture, 'spread', { transport, count, median: () => duration(median) });
  };
  return { node, add, draw };
}

function decades() {
  const at = Array.from({ length: DECADES - 1 }, (_, decade) => `${(100 * (decade + 1)) / DECADES}%`);
  return at.map((x) => svg('line', { class: 'decade', x1: x, x2: x, y1: 0, y2: '100%' }));
}

function axis() {
  const ticks = [...Array(DECADES).keys()].map((decade) => FROM * 10 ** decade);
  const named = (us) => {
    const [unit, value, digits] = us < 1e6 ? ['ms', us / 1000, us < 1000 ? 1 : 0] : ['s', us / 1e6, 0];
    return say(el('span'), unit, { number: () => number(value, digits) });
  };
  return el('div', { class: 'axis', 'aria-hidden': 'true' }, ...ticks.map(named));
}
