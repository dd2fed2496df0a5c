// The reference of the API, from the broker's own description of it. It is in English, as that is.

import { ask } from './api.js';
import { quote } from './commands.js';
import { byId, el } from './dom.js';
import * as i18n from './i18n.js';

const ENTRY = { name: 'event', data: 'hello' };

// What an example sends; without one here it is made from the description's own schema.
const BODIES = {
  'POST /handle': { action: 'log', transport: 'grpc', log: ENTRY },
  'POST /log-grpc': { action: 'log', log: ENTRY },
  'POST /burst': { entries: 100, concurrency: 4 },
  'POST /': undefined,
};

const QUERIES = {
  'GET /logs': '?level=error&limit=20',
  'GET /logs/stream': '?level=error',
};

const METHODS = ['get', 'post', 'put', 'delete'];

async function start() {
  i18n.start();
  try {
    const response = await ask('/openapi.json');
    draw(await response.json());
  } catch (error) {
    byId('reference-said').hidden = false;
    i18n.say(byId('reference-said'), 'reference.failed', { message: String(error) });
  }
}

function draw(description) {
  const known = Object.entries(description.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ method: method.toUpperCase(), path, about: item[method] })),
  );
  byId('contents').replaceChildren(
    el('ul', {}, ...known.map((one) => el('li', {}, el('a', { href: `#${anchor(one)}` }, title(one))))),
  );
  byId('operations').replaceChildren(...known.map((one) => operation(one, description)));
  // What the address asks for has only now come to be.
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

const title = ({ method, path }) => `${method} ${path}`;
const anchor = (one) => title(one).toLowerCase().replaceAll(/[^a-z]+/g, '-').replace(/-$/, '');

function operation(one, description) {
  const { about } = one;
  const parts = [el('h2', {}, el('code', {}, title(one))), ...words(about)];
  if (about.parameters?.length) {
    parts.push(i18n.say(el('h3'), 'reference.parameters'), rows(about.parameters.map((own) => parameter(own, description))));
  }
  const schema = about.requestBody?.content?.['application/json']?.schema;
  if (schema) {
    parts.push(i18n.say(el('h3'), 'reference.body'), rows(fields(schema, description)));
  }
  const answers = Object.entries(about.responses ?? {});
  parts.push(
    i18n.say(el('h3'), 'reference.answers'),
    rows(answers.map(([status, answer]) => [el('code', {}, status), text(answer.description)])),
    i18n.say(el('h3'), 'reference.example'),
    el('pre', { class: 'code', tabindex: 0 }, example(one, description)),
  );
  return el('section', { id: anchor(one), 'data-operation': title(one) }, ...parts);
}

// A sentence for what it does, and a paragraph for what there is to know.
function words({ summary, description }) {
  const said = [summary, ...(description ?? '').split('\n\n')].filter(Boolean);
  return said.filter((part, index) => said.indexOf(part) === index).map((part) => el('p', { lang: 'en' }, text(part)));
}

// Markdown's code is shown as code, and what else it has as it is written.
function text(written = '') {
  const parts = written.replaceAll('\n', ' ').split('`');
  return el('span', { lang: 'en' }, ...parts.map((part, index) => (index % 2 ? el('code', {}, part) : part)));
}

function rows(all) {
  return el('table', { class: 'words' }, el('tbody', {}, ...all.map(([name, about]) => el('tr', {}, el('th', { scope: 'row' }, name), el('td', {}, about)))));
}

function parameter({ name, required, description: about, schema }, description) {
  const marks = required ? [' ', i18n.say(el('small'), 'reference.required')] : [];
  return [el('span', {}, el('code', {}, name), ...marks), el('span', {}, text(about), ' ', limits(resolve(schema, description)))];
}

// The fields of an object, and of what it is one of.
function fields(schema, description, before = '') {
  const whole = resolve(schema, description);
  return Object.entries(whole.properties ?? {}).flatMap(([name, own]) => {
    const inner = resolve(own, description);
    const choices = (inner.oneOf ?? inner.anyOf ?? []).map((one) => resolve(one, description));
    const object = [inner, ...choices].find((one) => one.properties);
    const marks = whole.required?.includes(name) ? [' ', i18n.say(el('small'), 'reference.required')] : [];
    const head = el('span', {}, el('code', {}, before + name), ...marks);
    const about = el('span', {}, text(own.description ?? inner.description), ' ', limits(inner));
    return [[head, about], ...(object ? fields(object, description, `${before}${name}.`) : [])];
  });
}

// What a schema demands, in its own words.
function limits(schema) {
  const told = ['format', 'minimum', 'maximum', 'minLength', 'maxLength', 'minItems', 'maxItems', 'pattern', 'default']
    .filter((word) => schema[word] !== undefined && schema[word] !== null)
    .map((word) => `${word} ${JSON.stringify(schema[word])}`);
  if (schema.enum) told.unshift(schema.enum.map((value) => JSON.stringify(value)).join(' | '));
  return el('small', { class: 'limits' }, told.join(', '));
}

function resolve(schema = {}, description) {
  const { $ref: reference } = schema;
  if (!reference) return schema;
  const target = reference.split('/').slice(1).reduce((node, step) => node?.[step], description);
  return { ...resolve(target, description), ...(schema.description ? { description: schema.description } : {}) };
}

// A request that works as it stands, where no key is asked for.
function example(one, description) {
  const name = title(one);
  const path = one.path.replaceAll(/\{\w+\}/g, '01a1fc81-0c09-763f-8df2-a41011d222e4') + (QUERIES[name] ?? '');
  const stream = one.about.responses?.[200]?.content?.['text/event-stream'] ? '-N ' : '';
  const key = one.about.security?.length ? '-H "Authorization: Bearer $KEY" ' : '';
  const address = quote(location.origin + path);
  if (one.method === 'GET') return `curl ${stream}${key}${address}`;
  const schema = one.about.requestBody?.content?.['application/json']?.schema;
  const body = name in BODIES ? BODIES[name] : schema && made(schema, description);
  const sent = body === undefined ? '' : JSON.stringify(body);
  return `curl ${stream}${key}-d ${quote(sent)} ${address}`;
}

// A value that a schema allows, as far as that is plain.
function made(schema, description, depth = 0) {
  const own = resolve(schema, description);
  if (own.example !== undefined) return own.example;
  if (own.default !== undefined && own.default !== null) return own.default;
  if (own.enum) return own.enum[0];
  const choice = own.oneOf ?? own.anyOf ?? own.allOf;
  if (choice) return made(choice[0], description, depth);
  const [type] = [own.type].flat();
  if (type === 'object' && depth < 4) {
    const needed = own.required ?? [];
    return Object.fromEntries(needed.map((name) => [name, made(own.properties?.[name], description, depth + 1)]));
  }
  return { string: 'text', integer: own.minimum ?? 1, number: own.minimum ?? 1, boolean: true, array: [] }[type] ?? null;
}

start();
