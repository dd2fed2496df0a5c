// Says things in the language of the reader. A node that was told what to say says it anew when the language changes.

import { recall, remember } from './dom.js';
import { strings } from './strings.js';

const STORED = 'fourwire-language';

let language = 'en';
const given = new WeakMap();
const listeners = new Set();

// The text of a key. Numbers among the values are written as the language does; a function is asked each time.
export function t(key, values = {}) {
  const text = strings[language][key] ?? strings.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => show(values[name]));
}

function show(value) {
  if (typeof value === 'function') return value();
  return typeof value === 'number' ? number(value) : String(value);
}

export function number(value, digits = 0) {
  return value.toLocaleString(language, { maximumFractionDigits: digits, minimumFractionDigits: digits });
}

// A time in microseconds, with as many digits as can be compared at a glance.
export function duration(us) {
  const ms = us / 1000;
  if (ms >= 1_000) return t('s', { number: number(ms / 1000, ms < 10_000 ? 2 : 1) });
  return t('ms', { number: number(ms, ms < 10 ? 2 : ms < 100 ? 1 : 0) });
}

export function clock(date) {
  const time = date.toLocaleTimeString(language, { hourCycle: 'h23' });
  return `${time}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}

// Lets a node say a key, now and after a change of language.
export function say(node, key, values) {
  if (node.dataset.t === key && !values && !given.has(node)) return node;
  node.dataset.t = key;
  if (values) given.set(node, values);
  else given.delete(node);
  set(node, t(key, values));
  return node;
}

// Lets a node say nothing, in any language.
export function hush(node) {
  delete node.dataset.t;
  given.delete(node);
  set(node, '');
}

// Only a change is one: a live region would be read out again.
function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Lets a node be called by a key.
export function label(node, key, values) {
  node.dataset.label = key;
  if (values) given.set(node, values);
  node.setAttribute('aria-label', t(key, values));
  return node;
}

// Calls back after each change of language.
export function onLanguage(listener) {
  listeners.add(listener);
}

// A link chooses, `?lang=ru`, as a button does; otherwise what was chosen before, or the browser's languages.
export function start() {
  const buttons = [...document.querySelectorAll('[data-language]')];
  const linked = spoken(new URL(location.href).searchParams.get('lang'));
  if (linked) remember('localStorage', STORED, linked);
  const wanted = [linked, recall('localStorage', STORED), ...(navigator.languages ?? [navigator.language])];
  for (const button of buttons) {
    button.addEventListener('click', () => {
      remember('localStorage', STORED, button.dataset.language);
      // Otherwise the link would choose again when the page is reloaded.
      const here = new URL(location.href);
      here.searchParams.delete('lang');
      history.replaceState(null, '', here);
      use(button.dataset.language, buttons);
    });
  }
  use(wanted.map(spoken).find(Boolean) ?? 'en', buttons);
}

// The language of a tag such as `ru-RU`, if the page has it.
function spoken(tag) {
  const [name] = (tag ?? '').split('-');
  return Object.hasOwn(strings, name) ? name : undefined;
}

function use(wanted, buttons) {
  language = wanted;
  document.documentElement.lang = wanted;
  for (const button of buttons) {
    button.setAttribute('aria-pressed', String(button.dataset.language === wanted));
  }
  for (const node of document.querySelectorAll('[data-t]')) set(node, t(node.dataset.t, given.get(node)));
  for (const node of document.querySelectorAll('[data-label]')) {
    node.setAttribute('aria-label', t(node.dataset.label, given.get(node)));
  }
  for (const listener of listeners) listener();
}
