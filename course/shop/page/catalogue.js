// What there is, live, and what is in the basket.

import { post, products } from './api.js';
import { byId, el } from './dom.js';
import { money, nameOf, onLanguage, say, t } from './i18n.js';

// How long between two looks at the stock, in milliseconds.
const LOOK = 1000;
// Most products that are shown.
const SHOWN = 50;

let shown = [];
const basket = new Map();
const rows = new Map();
const listeners = new Set();

export function start() {
  byId('import').addEventListener('click', () => post('/api/products/sample', {}).then(look, () => {}));
  onLanguage(() => {
    draw();
    drawBasket();
  });
  keepLooking();
}

export function onBasket(listener) {
  listeners.add(listener);
}

// What is bought, as the buyer was shown it.
export const items = () =>
  [...basket].map(([sku, { quantity, unit_minor }]) => ({ sku, quantity, unit_minor }));

export function empty() {
  basket.clear();
  drawBasket();
}

async function keepLooking() {
  for (;;) {
    if (!document.hidden) await look();
    await new Promise((resolve) => setTimeout(resolve, LOOK));
  }
}

async function look() {
  try {
    const found = [];
    for await (const product of products()) {
      if (product.error) throw new Error(product.message);
      if (found.length < SHOWN && !product.sku.startsWith('rare-')) found.push(product);
    }
    shown = found;
    draw();
  } catch {
    // The services' line says who is down; what was seen last stays.
  }
}

function draw() {
  byId('catalogue-none').hidden = byId('import').hidden = shown.length > 0;
  const nodes = shown.map(row);
  // A row stays where it is: whoever is about to press its button finds it.
  const list = byId('products');
  if (nodes.length !== list.children.length || nodes.some((node, at) => node !== list.children[at])) {
    list.replaceChildren(...nodes);
  }
}

function drawBasket() {
  byId('basket-none').hidden = basket.size > 0;
  byId('basket').replaceChildren(...[...basket].map(chosen));
  const total = items().reduce((sum, { quantity, unit_minor }) => sum + quantity * unit_minor, 0);
  byId('total').hidden = basket.size === 0;
  say(byId('total'), 'total', { amount: money(total) });
  for (const listener of listeners) listener();
}

function row(product) {
  const known = rows.get(product.sku) ?? made(product.sku);
  const { node, name, free, price, add } = Object.assign(known, { product });
  name.textContent = nameOf(product);
  free.textContent = t('free', { free: product.free, reserved: product.reserved });
  price.textContent = money(product.price_minor);
  add.disabled = product.free < 1;
  return node;
}

function made(sku) {
  const [name, free, price] = [el('span', { class: 'name' }), el('small'), el('b')];
  const add = say(el('button', { type: 'button', 'data-sku': sku }), 'add');
  const made = { node: el('li', {}, name, free, price, add), name, free, price, add };
  add.addEventListener('click', () => put(made.product));
  rows.set(sku, made);
  return made;
}

function put(product) {
  const before = basket.get(product.sku)?.quantity ?? 0;
  basket.set(product.sku, {
    name: product.name,
    unit_minor: product.price_minor,
    quantity: Math.min(before + 1, 99),
  });
  drawBasket();
}

function chosen([sku, { name, quantity, unit_minor }]) {
  const drop = say(el('button', { type: 'button' }), 'drop');
  drop.addEventListener('click', () => {
    basket.delete(sku);
    drawBasket();
  });
  return el('li', {}, el('span', { class: 'name' }, nameOf({ sku, name })), el('small', {}, `× ${quantity}`), el('b', {}, money(quantity * unit_minor)), drop);
}
