// What must hold, live, and the buttons that try to break it.

import { ask, post } from './api.js';
import { byId, el } from './dom.js';
import { onLanguage, say, t } from './i18n.js';

// How long between two looks, in milliseconds.
const LOOK = 1000;

let last;
const listeners = new Set();

export function start() {
  for (const button of document.querySelectorAll('[data-fault]')) {
    button.addEventListener('click', () => press(button));
  }
  onLanguage(draw);
  keepLooking();
}

export function onLook(listener) {
  listeners.add(listener);
}

// How many log entries of the services wait to be sent, as far as that is known, and whether Fourwire answers.
export const waiting = () => last?.waiting;
export const fourwire = () => last?.fourwire;

async function keepLooking() {
  for (;;) {
    if (!document.hidden) await look();
    await new Promise((resolve) => setTimeout(resolve, LOOK));
  }
}

async function look() {
  try {
    last = (await ask('/api/invariants')).data;
  } catch {
    last = undefined;
  }
  draw();
  for (const listener of listeners) listener();
}

function draw() {
  byId('buttons').hidden = !last?.faults;
  byId('checks').replaceChildren(...(last?.invariants ?? []).map(check));
  const services = last ? [...Object.entries(last.services), ['Fourwire', last.fourwire]] : [];
  byId('services').replaceChildren(...services.map(([name, up]) => el('span', { class: up ? 'good' : 'bad', 'data-up': String(up) }, `${name}: ${t(up ? 'up' : 'down')}`)));
  drawFaults();
}

function check({ name, holds, figures }) {
  const word = holds === null ? 'check.unknown' : holds ? 'check.holds' : 'check.broken';
  const mark = holds === null ? 'unknown' : holds ? 'good' : 'bad';
  const shown = figures ? t(`check.${name}.figures`, figures) : '–';
  return el('li', { class: mark, 'data-check': name, 'data-holds': String(holds) }, el('b', {}, t(word)), el('span', {}, t(`check.${name}`)), el('small', {}, shown));
}

// Which fault is set, as the service itself says: one that was started again has forgotten it.
function drawFaults() {
  const on = [];
  for (const button of document.querySelectorAll('[data-fault][aria-pressed]')) {
    const { fault, service } = button.dataset;
    const pressed = last?.faults_set?.[service]?.fault === fault;
    button.setAttribute('aria-pressed', String(pressed));
    if (pressed) on.push(told(last.faults_set[service]));
  }
  const payment = last?.faults_set?.payment;
  if (on.length > 0) say(byId('fault-on'), 'fault.on', { faults: on.join('; ') });
  else say(byId('fault-on'), payment === null ? 'fault.down' : 'fault.off');
}

const told = ({ fault, percent, delay_ms }) => t(`fault.on.${fault}`, { percent, seconds: delay_ms / 1000 });

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
  await look();
}
