// Buys, and shows what becomes of the order: its states as they come, and its story in the log.

import { ask, place, post } from './api.js';
import * as catalogue from './catalogue.js';
import { byId, el } from './dom.js';
import { clock, money, onLanguage, say, t } from './i18n.js';

// How long between two looks at the story, in milliseconds, and how often after the last state.
const LOOK = 700;
const LOOKS = 8;

let user;
let bought;
let states = [];
let story = [];
let source;

export function start() {
  byId('buy').addEventListener('click', () => {
    bought = { id: crypto.randomUUID(), basket: { user_id: user.user_id, items: catalogue.items() } };
    catalogue.empty();
    states = [];
    story = [];
    send('placing');
  });
  byId('again').addEventListener('click', () => send('placing.again'));
  byId('advance').addEventListener('click', () => post(`/api/orders/${bought.id}/advance`, {}).catch(failed));
  catalogue.onBasket(enable);
  onLanguage(draw);
}

export function use(registered) {
  user = registered;
  draw();
  enable();
}

function enable() {
  byId('buy').disabled = !user || catalogue.items().length === 0;
  byId('again').disabled = !bought;
}

async function send(word) {
  const { id, basket } = bought;
  enable();
  draw();
  say(byId('order-said'), word);
  follow(id);
  try {
    const { status, data } = await place(id, basket, () => say(byId('order-said'), 'unknown'));
    if (bought.id === id) say(byId('order-said'), status === 202 ? 'pending' : 'decided', { state: data.state });
  } catch (error) {
    if (bought.id === id) failed(error);
  }
  account();
}

function failed(error) {
  say(byId('order-said'), 'refused', { message: error.message });
}

// An order is followed as soon as it is there; a browser resumes by itself where its stream has ended.
async function follow(id) {
  source?.close();
  let after = 0;
  const events = () => {
    source = new EventSource(`/api/orders/${id}/events`);
    source.addEventListener('state', (event) => {
      const told = JSON.parse(event.data);
      if (bought.id !== id || told.position <= after) return;
      after = told.position;
      states = [...states.filter((state) => state.position !== told.position), told];
      draw();
      account();
      if (told.last) source.close();
      look(id, told.last ? LOOKS : 1);
    });
    // A stream that never was is refused for good: the order may not be there yet.
    source.addEventListener('error', () => {
      if (source.readyState === EventSource.CLOSED && bought.id === id && !states.at(-1)?.last) setTimeout(events, 200);
    });
  };
  events();
  look(id, LOOKS);
}

// What is queued comes to the log later than what is stored at once.
async function look(id, times) {
  for (let time = 0; time < times && bought.id === id; time += 1) {
    try {
      const { data } = await ask(`/api/orders/${id}/story`);
      if (bought.id === id && data.entries.length >= story.length) story = data.entries;
      draw();
    } catch {
      // The log may be down: an order does not need it.
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK));
  }
}

async function account() {
  try {
    user = (await ask(`/api/users/${user.user_id}`)).data;
    draw();
  } catch {
    // The services' line says who is down.
  }
}

function draw() {
  if (user) {
    byId('user').textContent = user.name;
    byId('balance').textContent = money(user.balance_minor);
    byId('held').textContent = money(user.held_minor);
  }
  byId('order-none').hidden = Boolean(bought);
  byId('order-id').textContent = bought?.id ?? '';
  byId('states').replaceChildren(...states.map(state));
  byId('advance').hidden = !['PAID', 'SHIPPED'].includes(states.at(-1)?.state);
  byId('story').replaceChildren(...story.map(line));
}

function state({ state, reason, at }) {
  const why = reason ? el('small', {}, t(`reason.${reason}`)) : '';
  return el('li', { class: state.toLowerCase(), 'data-state': state }, el('b', {}, state), el('span', {}, t(`state.${state}`)), why, el('small', {}, clock(at)));
}

function line({ name, transport, at, reason }) {
  return el('li', { 'data-transport': transport }, el('small', {}, clock(at)), el('span', { class: `mark ${transport}` }, transport), el('code', {}, name), el('small', {}, reason ?? ''));
}
