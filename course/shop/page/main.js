// Starts the page. Each part of it has a file of its own.

import { post } from './api.js';
import * as catalogue from './catalogue.js';
import * as checks from './checks.js';
import { byId, recall, remember } from './dom.js';
import * as i18n from './i18n.js';
import * as order from './order.js';
import * as story from './story.js';

const USER = 'shop-user';

async function start() {
  i18n.start();
  catalogue.start();
  checks.start();
  order.start();
  story.start();
  await register();
}

// A browser is a user: registering again is the same user, and the same money.
async function register() {
  const user_id = recall(USER) ?? crypto.randomUUID();
  remember(USER, user_id);
  for (;;) {
    try {
      const { data } = await post('/api/users', { user_id, name: `Guest ${user_id.slice(0, 8)}` });
      byId('notice').hidden = true;
      order.use(data);
      return;
    } catch {
      byId('notice').hidden = false;
      i18n.say(byId('notice'), 'unreachable');
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

start();
