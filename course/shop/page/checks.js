// What must hold, live, and the buttons that try to break it.

import { ask, post } from './api.js';
import { byId, el } from './dom.js';
import { onLanguage, say, t } from './i18n.js';

// How long between two looks, in milliseconds.
const LOOK = 1000;

let last;

export function start() {
  for (const button of document.querySelectorAll('[data-fault]')) {
    button.addEventListener('click', () => press(button));
  }
  onLanguage(draw);
  keepLooking();
}

async function keepLooking() {
  for (;;) {
    if (!document.hidden) {
      try {
        last = (await ask('/api/invariants')).data;
      } catch {
        last = undefined;
      }
      draw();
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK));
  }
}

function draw() {
  byId('buttons').hidden = !last?.faults;
  byId('checks').replaceChildren(...(last?.invariants ?? []).map(check));
  const services = Object.entries(last?.services ?? {});
  byId('services').replaceChildren(...services.map(([name, up]) => el('span', { class: up ? 'good' : 'bad', 'data-up': String(up) }, `${name}: ${t(up ? 'up' : 'down')}`)));
}

function check({ name, holds, figures }) {
  const word = holds === null ? 'check.unknown' : holds ? 'check.holds' : 'check.broken';
  const mark = holds === null ? 'unknown' : holds ? 'good' : 'bad';
  const shown = figures ? t(`check.${name}.figures`, figures) : '–';
  return el('li', { class: mark, 'data-check': name, 'data-holds': String(holds) }, el('b', {}, t(word)), el('span', {}, t(`check.${name}`)), el('small', {}, shown));
}

async function press(button) {
  const { fault, service, percent = 0, delay = 0 } = button.dataset;
  say(byId('fault-said'), 'fault.pressed');
  try {
    const { data } = await post('/api/faults', { fault, service, percent: Number(percent), delay_ms: Number(delay) });
    const states = Object.entries(data.states ?? {}).map(([state, count]) => `${count} ${state}`).join(', ');
    if (fault === 'crowd') say(byId('fault-said'), 'fault.crowd.said', { ...data, states });
    else if (fault === 'retries') say(byId('fault-said'), 'fault.retries.said', data);
    else say(byId('fault-said'), 'fault.done');
  } catch (error) {
    say(byId('fault-said'), 'refused', { message: error.message });
  }
}
