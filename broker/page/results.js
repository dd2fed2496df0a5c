// What was measured last over each transport: a table, and for bursts one picture on a scale that all four share.

import * as burst from './burst.js';
import { byId, el, svg } from './dom.js';
import { duration, label, number, say } from './i18n.js';
import { TRANSPORTS, mark } from './marks.js';

// The columns of numbers, and which value of each is the best.
const COLUMNS = { answered: Math.min, stored: Math.min, p99: Math.min, bytes: Math.min, rate: Math.max };

// Times and rates that are no further apart come out the other way round next time; bytes do not.
const NOISE = 1.2;

// The picture shows at least these, in powers of ten of a microsecond: 0.1 ms to 100 ms.
const DECADES = [2, 5];

const rows = {};
let pictures = {};

export function start() {
  for (const transport of TRANSPORTS) {
    rows[transport] = row(transport);
    byId('results').tBodies[0].append(rows[transport].node);
  }
  burst.onEvent(({ event, data }) => {
    if (event === 'begun') clear('results.burst', { count: data.entries, concurrency: data.concurrency });
    if (event === 'measured') measured(data);
  });
  drawAll();
}

function row(transport) {
  const cells = {};
  const promise = transport === 'rabbitmq' ? 'promise.queued' : 'promise.stored';
  const node = el(
    'tr',
    { 'data-transport': transport },
    el('th', { scope: 'row' }, mark(transport)),
    cell('results.promise', say(el('span'), promise)),
    ...Object.keys(COLUMNS).map((name) => {
      cells[name] = el('span', { class: 'value' }, '–');
      return cell(name === 'p99' ? undefined : `results.${name}`, cells[name], name);
    }),
  );
  return { node, cells, values: {} };
}

// On a narrow screen the table is a list, and each cell says what it is.
function cell(head, content, name = 'promise') {
  const own = head ? say(el('span', { class: 'head' }), head) : el('span', { class: 'head' }, 'p99');
  return el('td', { 'data-column': name }, own, ' ', content);
}

// One entry was sent, and took so many microseconds to its answer, and to the disk.
export function one(transport, { answered, stored, bytes }) {
  if (kind !== 'one') clear('results.one', {});
  kind = 'one';
  fill(transport, { answered, stored, bytes: bytes && [bytes.sent, bytes.received] });
}

let kind;

function clear(key, values) {
  kind = undefined;
  say(byId('results-said'), key, values);
  pictures = {};
  for (const transport of TRANSPORTS) fill(transport, {});
  drawAll();
}

function measured(told) {
  const { transport, answered_us: answered, stored_us: stored, wire_bytes: bytes, per_second: rate } = told;
  fill(transport, {
    answered: answered?.median,
    // Where the answer waits for the disk, it is that.
    stored: transport === 'rabbitmq' ? stored?.median : answered?.median,
    p99: answered?.p99,
    bytes: bytes && [bytes.sent, bytes.received],
    rate: answered && rate,
    refused: told.rejected + told.not_stored + told.unknown,
  });
  pictures[transport] = told;
  drawAll();
}

function fill(transport, values) {
  const own = rows[transport];
  own.values = values;
  own.node.dataset.refused = values.refused ?? 0;
  for (const name of Object.keys(COLUMNS)) {
    const value = values[name];
    if (name === 'rate' && value === undefined && values.refused) {
      say(own.cells.rate, 'results.refused', { count: values.refused });
    } else {
      say(own.cells[name], 'is', { text: value === undefined ? '–' : shown(name, value) });
    }
  }
  for (const [name, best] of Object.entries(COLUMNS)) {
    const known = TRANSPORTS.map((each) => rows[each].values[name]).filter((value) => value !== undefined);
    const goal = known.length > 1 ? best(...known.map(size)) : undefined;
    const allowed = name === 'bytes' ? 1 : NOISE;
    const isBest = (value) => value !== undefined && Math.max(size(value) / goal, goal / size(value)) <= allowed;
    // Where all are as good, none is ahead.
    const tells = !known.every(isBest);
    for (const each of TRANSPORTS) {
      rows[each].cells[name].classList.toggle('best', tells && isBest(rows[each].values[name]));
    }
  }
}

const size = (value) => (Array.isArray(value) ? value[0] + value[1] : value);

function shown(name, value) {
  if (name === 'bytes') return () => value.map((part) => number(part)).join(' + ');
  return name === 'rate' ? () => number(value) : () => duration(value);
}

// --- The picture ---------------------------------------------------------------------------------

function drawAll() {
  const measured = Object.values(pictures).filter(({ accepted }) => accepted);
  const [from, to] = range(measured);
  const lines = TRANSPORTS.map((transport) => line(transport, pictures[transport], from, to));
  const ticks = [];
  for (let decade = from; decade < to; decade += 1) ticks.push(tick(10 ** decade));
  byId('picture').replaceChildren(...lines, el('div', { class: 'axis', 'aria-hidden': 'true' }, ...ticks));
}

// As many powers of ten as all have together.
function range(measured) {
  let [from, to] = DECADES;
  for (const { histogram } of measured) {
    const first = Math.log10(histogram.from_us);
    histogram.counts.forEach((count, column) => {
      if (!count) return;
      const at = first + column / histogram.columns_per_decade;
      from = Math.min(from, Math.floor(at + 1e-9));
      to = Math.max(to, Math.floor(at + 1e-9) + 1);
    });
  }
  return [from, to];
}

function line(transport, told, from, to) {
  const place = (decade) => (100 * (decade - from)) / (to - from);
  const grid = [];
  for (let decade = from; decade <= to; decade += 1) {
    grid.push(svg('line', { class: 'decade', x1: `${place(decade)}%`, x2: `${place(decade)}%`, y1: 0, y2: '100%' }));
  }
  const drawn = told?.accepted ? bars(told, place) : [];
  const picture = svg('svg', { class: `spread of-${transport}`, role: 'img' }, ...grid, ...drawn);
  const median = el('small', { class: 'median' });
  if (told?.accepted) {
    const time = () => duration(told.answered_us.median);
    say(median, 'results.median', { time });
    label(picture, 'spread', { transport, count: told.accepted, median: time });
  } else {
    label(picture, 'spread.none', { transport });
  }
  return el('figure', {}, el('figcaption', {}, mark(transport), median), picture);
}

function bars({ histogram, answered_us: { median } }, place) {
  const { counts, columns_per_decade: each, from_us: first } = histogram;
  const most = Math.max(...counts);
  const width = place(1 / each) - place(0);
  const drawn = counts.flatMap((count, column) => {
    if (!count) return [];
    const height = Math.max(4, (100 * count) / most);
    const x = place(Math.log10(first) + column / each);
    return [svg('rect', { x: `${x}%`, width: `${0.86 * width}%`, y: `${100 - height}%`, height: `${height}%` })];
  });
  const x = `${place(Math.log10(Math.max(median, first)))}%`;
  return [...drawn, svg('line', { class: 'middle', x1: x, x2: x, y1: 0, y2: '100%' })];
}

function tick(us) {
  const [unit, value, digits] = us < 1e6 ? ['ms', us / 1000, us < 1000 ? (us < 100 ? 2 : 1) : 0] : ['s', us / 1e6, 0];
  return say(el('span'), unit, { number: () => number(value, digits) });
}
