// Starts the page. Each part of it has a file of its own.

import { hasKey, link, useKey } from './api.js';
import * as burst from './burst.js';
import * as difference from './difference.js';
import { byId } from './dom.js';
import * as health from './health.js';
import * as i18n from './i18n.js';
import * as lanes from './lanes.js';
import * as results from './results.js';
import * as send from './send.js';
import * as tail from './tail.js';

function start() {
  i18n.start();
  watchLink();
  for (const part of [lanes, results, burst, send, difference, health, tail]) part.start();
}

// What is to be said of the broker as a whole: that it does not answer, or that it wants a key.
function watchLink() {
  const notice = byId('notice');
  const tell = (key) => {
    notice.hidden = !key;
    if (key) i18n.say(notice, key);
  };
  let lost = false;
  link.addEventListener('lost', () => {
    lost = true;
    tell('unreachable');
  });
  link.addEventListener('reached', () => {
    if (lost) tell();
    lost = false;
  });
  link.addEventListener('locked', () => {
    byId('key-form').hidden = false;
    tell(hasKey() ? 'key.wrong' : 'key.needed');
  });
  link.addEventListener('blind', () => tell('key.scope'));
  link.addEventListener('key', () => tell());
  byId('key-form').hidden = !hasKey();
  byId('key-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const key = byId('key').value.trim();
    byId('key').value = '';
    // What fits in no header is no key.
    if (/^[!-~]+$/.test(key)) useKey(key);
    else tell('key.wrong');
  });
  byId('key-forget').addEventListener('click', () => useKey(''));
}

start();
