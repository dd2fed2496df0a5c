// What a 202 promises over each transport, and which one to take.

import { byId, el } from './dom.js';
import { say } from './i18n.js';

const PROMISES = ['means', 'logger', 'rabbitmq', 'limit', 'deadline', 'delivery'];
const NEEDS = { reach: 'http', call: 'rpc', languages: 'grpc', outage: 'rabbitmq', batches: undefined };

export function start() {
  const promises = PROMISES.map((name) => [
    say(el('th', { scope: 'row' }), `differ.${name}`),
    say(el('td'), `differ.${name}.direct`),
    say(el('td'), `differ.${name}.queue`),
  ]);
  const needs = Object.entries(NEEDS).map(([need, transport]) => [
    say(el('th', { scope: 'row' }), `need.${need}`),
    transport ? el('td', {}, el('code', {}, transport)) : say(el('td'), 'need.any'),
    say(el('td'), `need.${need}.because`),
  ]);
  byId('difference-tables').append(
    table(['', el('code', {}, 'http, rpc, grpc'), el('code', {}, 'rabbitmq')], promises),
    say(el('h3'), 'need'),
    table([say(el('span'), 'need.you'), say(el('span'), 'need.take'), say(el('span'), 'need.because')], needs),
    say(el('p', { class: 'hint' }), 'need.measured'),
  );
}

function table(heads, rows) {
  const head = el('tr', {}, ...heads.map((text) => el('th', { scope: 'col' }, text)));
  const body = el('tbody', {}, ...rows.map((cells) => el('tr', {}, ...cells)));
  return el('table', { class: 'words' }, el('thead', {}, head), body);
}
