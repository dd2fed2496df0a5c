// Says things in the language of the reader; what was said is said anew when the language changes.

import { recall, remember } from './dom.js';
import { strings } from './strings.js';

const STORED = 'shop-language';

let language = 'en';
const values = new WeakMap();
const listeners = new Set();

// The text of a key, with its holes filled.
export function t(key, filling = {}) {
  const text = strings[language][key] ?? strings.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => String(filling[name]));
}

export const money = (minor) =>
  (minor / 100).toLocaleString(language, { style: 'currency', currency: 'EUR' });

export function clock(at) {
  const date = new Date(at);
  return `${date.toLocaleTimeString(language, { hourCycle: 'h23' })}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

// What a product of the sample catalogue is called; all others have one name.
export const nameOf = ({ sku, name }) =>
  strings.en[`product.${sku}`] === name ? t(`product.${sku}`) : name;

// Lets a node say a key, now and after a change of language; or nothing.
export function say(node, key, filling) {
  if (key) node.dataset.t = key;
  else delete node.dataset.t;
  values.set(node, filling);
  // What is said again is not read out again.
  const text = key ? t(key, filling) : '';
  if (node.textContent !== text) node.textContent = text;
  return node;
}

export function onLanguage(listener) {
  listeners.add(listener);
}

export function start() {
  const buttons = [...document.querySelectorAll('[data-language]')];
  const wanted = [recall(STORED), ...navigator.languages].map((tag) => tag?.split('-')[0]);
  for (const button of buttons) {
    button.addEventListener('click', () => {
      remember(STORED, button.dataset.language);
      use(button.dataset.language, buttons);
    });
  }
  use(wanted.find((tag) => tag in strings) ?? 'en', buttons);
}

function use(wanted, buttons) {
  language = wanted;
  document.documentElement.lang = wanted;
  for (const button of buttons) button.setAttribute('aria-pressed', String(button.dataset.language === wanted));
  for (const node of document.querySelectorAll('[data-t]')) node.textContent = t(node.dataset.t, values.get(node));
  document.title = t('shop');
  for (const listener of listeners) listener();
}
