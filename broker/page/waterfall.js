// Where the time of some entries went: a bar for each, cut into parts, all on one scale.

import { el, svg } from './dom.js';
import { duration, say } from './i18n.js';
import { mark } from './marks.js';

// The parts of a delivered entry, in the order in which they happen, from what the broker says of it.
export function parts({ total, transport, store }) {
  if (transport === undefined) return [{ kind: 'broker', us: total }];
  const broker = { kind: 'broker', us: Math.max(0, total - transport) };
  if (store === undefined) return [broker, { kind: 'confirm', us: transport }];
  return [broker, { kind: 'wire', us: Math.max(0, transport - store) }, { kind: 'store', us: store }];
}

// A picture of rows `{ transport, parts, queue }`. The queue has a bar of its own: it is measured by other clocks.
export function waterfall(rows) {
  const lengths = rows.flatMap(({ parts, queue = 0 }) => [sum(parts), queue]);
  const scale = Math.max(1, ...lengths);
  const drawn = rows.map((row) => el('li', {}, mark(row.transport), ...bars(row, scale)));
  return [
    say(el('h3'), 'waterfall'),
    el('ol', { class: 'waterfall' }, ...drawn),
    say(el('p', { class: 'hint' }), 'waterfall.scale', { time: () => duration(scale) }),
  ];
}

function bars({ parts, queue }, scale) {
  const drawn = [bar(parts, scale), legend(parts)];
  if (queue !== undefined) {
    const waited = [{ kind: 'queue', us: queue }];
    drawn.push(bar(waited, scale), legend(waited));
  }
  return drawn;
}

function bar(parts, scale) {
  let begun = 0;
  const pieces = parts.map(({ kind, us }) => {
    const piece = svg('rect', {
      class: `part-${kind}`,
      x: percent(begun, scale),
      width: percent(us, scale),
      height: '100%',
      'data-us': us,
    });
    begun += us;
    return piece;
  });
  return svg('svg', { class: 'bar', 'aria-hidden': 'true' }, ...pieces);
}

// The same in words and numbers.
function legend(parts) {
  const named = parts.map(({ kind, us }) => {
    const sample = svg('svg', { class: 'sample', 'aria-hidden': 'true' }, svg('rect', { class: `part-${kind}` }));
    const time = say(el('b'), 'is', { text: () => duration(us) });
    return el('span', { class: 'named' }, sample, say(el('span'), `part.${kind}`), ' ', time);
  });
  return el('p', { class: 'legend' }, ...named);
}

const sum = (parts) => parts.reduce((all, { us }) => all + us, 0);
const percent = (us, scale) => `${((100 * us) / scale).toFixed(3)}%`;
