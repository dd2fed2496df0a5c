// The picture of one lane: broker, wire, (RabbitMQ, listener,) logger and disk, and what moves along it.

import { svg } from './dom.js';
import { say } from './i18n.js';

const HEIGHT = 74;
const BOX = { y: 18, height: 30 };
const MIDDLE = BOX.y + BOX.height / 2;

// The widths of the boxes, and below which width of the whole they are the small ones.
const WIDE = { broker: 72, rabbitmq: 86, listener: 72, logger: 72, disk: 30 };
const SMALL = { broker: 50, rabbitmq: 68, listener: 54, logger: 50, disk: 22 };
const NARROW = 480;

// What moves does so until the lane is cleared.
const running = new WeakMap();

// A lane for a picture `width` pixels wide.
export function wire(transport, width) {
  const sizes = width < NARROW ? SMALL : WIDE;
  const stops = transport === 'rabbitmq' ? ['broker', 'rabbitmq', 'listener', 'logger', 'disk'] : ['broker', 'logger', 'disk'];
  const at = place(stops, sizes, width);
  const line = svg('path', { class: 'line', d: `M${at.broker.right} ${MIDDLE}H${at.disk.middle}` });
  const flow = svg('path', { class: 'flow', d: `M${at.broker.right} ${MIDDLE}H${at.disk.left}` });
  const moving = svg('g');
  const boxes = stops.filter((stop) => stop !== 'disk').map((stop) => box(at[stop], stop));
  const disk = svg('path', { class: 'disk', d: drum(at.disk) });
  // Under the first hop: these bytes are the broker's own.
  const hop = at[stops[1]];
  const bytes = svg('text', { class: 'bytes', y: HEIGHT - 6, x: (at.broker.right + hop.left) / 2 });
  if (width < NARROW) {
    bytes.setAttribute('x', 0);
    bytes.classList.add('begins');
  }
  const extra = [];
  const queue = svg('text', { class: 'bytes', y: 12, x: at.rabbitmq?.middle ?? 0 });
  const waits = svg('circle', { class: 'dot waits', cx: (at.rabbitmq?.right ?? 0) - 3, cy: BOX.y + 2, r: 6 });
  if (at.rabbitmq) extra.push(queue, waits);
  const node = svg(
    'svg',
    { class: 'wire', width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, 'aria-hidden': 'true' },
    line, flow, moving, ...boxes, disk, bytes, ...extra,
  );
  return {
    node,
    bytes: (key, values) => say(bytes, key, values),
    queue: (count) => {
      say(queue, 'lanes.queue', { count });
      waits.classList.toggle('there', count > 0);
    },
    store: (so) => disk.classList.toggle('hit', so),
    stream: (so) => node.classList.toggle('streams', so),
    // Moves a dot, or a ring, from one stop to another within `ms`.
    move: (kind, from, to, ms) => move(moving, kind, edge(at, from, to), edge(at, to, from), ms),
    // The entry comes as far as the door of the next stop, and is sent back.
    bounce: async (ms) => {
      const [out, back] = [edge(at, 'broker', stops[1]), edge(at, stops[1], 'broker') - 8];
      await move(moving, 'dot bad', out, back, 0.55 * ms);
      await move(moving, 'dot bad', back, out, 0.45 * ms);
    },
    clear: () => {
      for (const animation of running.get(moving) ?? []) animation.cancel();
      moving.replaceChildren();
    },
  };
}

// Where each stop is: the gaps between them are equal, but for the short one before the disk.
function place(stops, sizes, width) {
  const boxes = stops.reduce((sum, stop) => sum + sizes[stop], 0);
  const last = Math.min(28, (width - boxes) / (stops.length - 1));
  const gap = (width - boxes - last) / (stops.length - 2);
  const at = {};
  let left = 0;
  for (const stop of stops) {
    if (stop === 'disk') left += last - gap;
    at[stop] = { left, right: left + sizes[stop], middle: left + sizes[stop] / 2, width: sizes[stop] };
    left += sizes[stop] + gap;
  }
  return at;
}

// The side of a stop that looks to another. The disk has none.
function edge(at, stop, other) {
  if (stop === 'disk') return at.disk.middle;
  return at[other].middle > at[stop].middle ? at[stop].right - 4 : at[stop].left + 4;
}

function box({ left, middle, width }, stop) {
  const name = svg('text', { class: 'stop', x: middle, y: MIDDLE + 4.5 }, stop === 'rabbitmq' ? 'RabbitMQ' : stop);
  return svg('g', {}, svg('rect', { class: 'box', x: left + 0.75, y: BOX.y, width: width - 1.5, height: BOX.height, rx: 7 }), name);
}

function drum({ left, width }) {
  const [half, x] = [(width - 3) / 2, left + 1.5];
  const lid = `a${half} 5 0 0 0 ${2 * half} 0`;
  return `M${x} ${BOX.y + 4}v22${lid}v-22a${half} 5 0 0 0 ${-2 * half} 0${lid}`;
}

async function move(group, kind, from, to, ms) {
  const dot = svg('circle', { class: kind, cx: 0, cy: MIDDLE, r: kind === 'ring' ? 6.5 : 7.5 });
  group.append(dot);
  const frames = [{ transform: `translateX(${from}px)` }, { transform: `translateX(${to}px)` }];
  const animation = dot.animate(frames, { duration: ms, easing: 'linear', fill: 'forwards' });
  const all = running.get(group) ?? new Set();
  running.set(group, all.add(animation));
  try {
    await animation.finished;
  } catch {
    // It was cleared.
  }
  all.delete(animation);
  dot.remove();
}
