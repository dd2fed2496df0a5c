// Follows the broker's server-sent events. EventSource sends no header, so it could send no key: this reads the stream
// itself, and resumes after the last event that it has seen, so that nothing is missed and nothing comes twice.

import { ask } from './api.js';

// Between two attempts, in milliseconds: it doubles, and each wait is drawn from its upper half.
const WAIT = [250, 4_000];

// The broker sends a sign of life every 5 s.
const SILENCE = 25_000;

// A tab that nobody sees gives its connection back after so long: a browser has six of them for one broker.
const UNSEEN = 5_000;

// Follows the stream at `path` until it is told to stop, or what it asks for is refused. The callbacks:
// `event({ event, data })`; `state(word, message)` with "connecting", "live", "outage" of what is behind the broker, "again",
// "refused", or "renewed" where the place to resume from was gone.
export function follow(path, { event, state }) {
  const stopped = new AbortController();
  run(path, { event, state }, stopped.signal);
  return () => stopped.abort();
}

async function run(path, { event, state }, stopped) {
  let last;
  let wait = WAIT[0];
  state('connecting');
  while (!stopped.aborted) {
    while (document.hidden && !stopped.aborted) await seen(stopped);
    if (stopped.aborted) return;
    const connection = new AbortController();
    const end = () => connection.abort();
    stopped.addEventListener('abort', end, { once: true });
    let alive;
    const heard = () => {
      clearTimeout(alive);
      alive = setTimeout(end, SILENCE);
    };
    heard();
    let unseen;
    const watch = () => {
      clearTimeout(unseen);
      if (document.hidden) unseen = setTimeout(end, UNSEEN);
    };
    document.addEventListener('visibilitychange', watch);
    try {
      const headers = last === undefined ? {} : { 'Last-Event-ID': last };
      const response = await ask(path, { headers, signal: connection.signal });
      if (response.status === 200) {
        state('live');
        const parse = parser((message) => {
          if (stopped.aborted) return;
          if (message.event === 'refused') {
            // Where there are too many streams it goes on later; otherwise its place is refused.
            if (JSON.parse(message.data).code === 'overloaded') {
              state('again');
            } else {
              last = undefined;
              state('renewed');
            }
            return;
          }
          wait = WAIT[0];
          last = message.id ?? last;
          event(message);
        });
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
          heard();
          parse(piece.value);
        }
      } else if (response.status === 400 && last !== undefined) {
        last = undefined;
        state('renewed');
        continue;
      } else if (response.status >= 500 || response.status === 429) {
        const { data } = await response.json();
        state(data.code === 'unavailable' && last !== undefined ? 'outage' : 'again');
      } else {
        state('refused', (await response.json()).message);
        return;
      }
    } catch {
      if (!stopped.aborted) state(document.hidden ? 'connecting' : 'again');
    } finally {
      clearTimeout(alive);
      clearTimeout(unseen);
      document.removeEventListener('visibilitychange', watch);
      stopped.removeEventListener('abort', end);
      end();
    }
    await pause(wait * (0.5 + Math.random() / 2), stopped);
    wait = Math.min(2 * wait, WAIT[1]);
  }
}

// Waits until somebody may see the page.
async function seen(stopped) {
  const waited = new AbortController();
  const { signal } = waited;
  await new Promise((resolve) => {
    document.addEventListener('visibilitychange', resolve, { signal });
    stopped.addEventListener('abort', resolve, { signal });
  });
  waited.abort();
}

function pause(ms, stopped) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      stopped.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    stopped.addEventListener('abort', end);
  });
}

// Takes the text of a stream in pieces, cut anywhere, and gives back its events as the standard has it.
export function parser(give) {
  let rest = '';
  let message = { data: [] };
  return (piece) => {
    rest += piece;
    // A carriage return at the end may be half of a line's end.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line) {
        field(message, line);
      } else {
        // One without data has a place to go on from.
        const told = message.data.length || message.id !== undefined;
        if (told) give({ event: 'message', ...message, data: message.data.join('\n') });
        message = { data: [] };
      }
    }
  };
}

function field(message, line) {
  const [, name, value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
  if (name === 'data') message.data.push(value);
  else if (name === 'event') message.event = value;
  else if (name === 'id' && !value.includes('\0')) message.id = value;
}
