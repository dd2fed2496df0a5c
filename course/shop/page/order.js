// Buys, and shows what becomes of the order: its states as they come.

import { ask, place, post } from './api.js';
import * as catalogue from './catalogue.js';
import { byId, el } from './dom.js';
import { clock, money, onLanguage, say, t } from './i18n.js';
import * as story from './story.js';

// The states before the decision.
const UNDECIDED = ['PLACED', 'RESERVED', 'HELD'];

let user;
let bought;
let states = [];
// The state in the last answer: the states themselves may come later.
let answered;
let source;

export function start() {
  byId('buy').addEventListener('click', () => {
    bought = { id: crypto.randomUUID(), basket: { user_id: user.user_id, items: catalogue.items() } };
    catalogue.empty();
    states = [];
    answered = undefined;
    send('placing');
  });
  byId('again').addEventListener('click', () => send('placing.again'));
  byId('advance').addEventListener('click', () => {
    post(`/api/orders/${bought.id}/advance`, {}).then(() => tell(''), refused);
  });
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
  tell(word);
  follow(id);
  try {
    const { data } = await place(id, basket, () => bought.id === id && tell('unknown'));
    if (bought.id !== id) return;
    answered = data.state;
    tell('');
    draw();
    if (word === 'placing.again') await charged(id);
  } catch (error) {
    if (bought.id === id) refused(error);
  }
  account();
}

// What came of sending it again, by the ledger.
async function charged(id) {
  const data = await ask(`/api/orders/${id}/charges`).then((answer) => answer.data, () => null);
  if (bought.id !== id) return;
  if (data) tell(data.captures === 1 ? 'again.once' : 'again.charged', data);
  else tell('again.unknown');
}

// What becomes of the request, below what becomes of the order.
function tell(word, filling) {
  say(byId('request-said'), word, filling);
}

function refused(error) {
  tell('refused', { message: error.message });
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
      story.follow(id);
    });
    // A stream that never was is refused for good: the order may not be there yet.
    source.addEventListener('error', () => {
      if (source.readyState === EventSource.CLOSED && bought.id === id && !states.at(-1)?.last) setTimeout(events, 200);
    });
  };
  events();
  story.follow(id);
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
    byId('user').textContent = name(user);
    byId('balance').textContent = money(user.balance_minor);
    byId('held').textContent = money(user.held_minor);
  }
  byId('order-none').hidden = Boolean(bought);
  const last = states.at(-1)?.state ?? answered;
  if (!last) say(byId('order-said'), '');
  else say(byId('order-said'), UNDECIDED.includes(last) ? 'pending' : 'decided', { state: last });
  byId('order-id').textContent = bought?.id ?? '';
  byId('states').replaceChildren(...states.map(state));
  byId('advance').hidden = !['PAID', 'SHIPPED'].includes(states.at(-1)?.state);
}

// A guest has no other name than the page's own, which is said in the reader's language.
function name({ name }) {
  const guest = /^Guest (\w+)$/.exec(name);
  return guest ? t('guest', { id: guest[1] }) : name;
}

function state({ state, reason, at }) {
  const why = reason ? el('small', {}, t(`reason.${reason}`)) : '';
  return el('li', { class: state.toLowerCase(), 'data-state': state }, el('b', {}, state), el('span', {}, t(`state.${state}`)), why, el('small', {}, clock(at)));
}
