// The four transports, each with a word, a shape and a colour: whoever cannot tell the colours apart has the others.

import { el, svg } from './dom.js';

const SHAPES = {
  http: () => svg('circle', { cx: 6, cy: 6, r: 5 }),
  rpc: () => svg('path', { d: 'M6 .8 11.6 11H.4Z' }),
  rabbitmq: () => svg('rect', { x: 1.2, y: 1.2, width: 9.6, height: 9.6 }),
  grpc: () => svg('path', { d: 'M6 0 12 6 6 12 0 6Z' }),
};

export const TRANSPORTS = Object.keys(SHAPES);

export function mark(transport) {
  const shape = SHAPES[transport]?.() ?? svg('path', { d: 'M1 6H11' });
  const picture = svg('svg', { viewBox: '0 0 12 12', width: 12, height: 12, 'aria-hidden': 'true' }, shape);
  return el('span', { class: `mark of-${transport}` }, picture, transport);
}
