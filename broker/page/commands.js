// What sends the same entry from elsewhere: for curl, the command fourwire, Python, Go and grpcurl.

import { hasKey, request } from './api.js';
import { byId, el } from './dom.js';
import { say } from './i18n.js';

const KINDS = { curl, fourwire, Python: python, Go: go, grpcurl };

let kind = 'curl';
let asked;

// `what()` is the form: the transports, and the entry.
export function start(what) {
  asked = what;
  for (const name of Object.keys(KINDS)) {
    const tab = el('button', { type: 'button', role: 'tab', 'data-kind': name, 'aria-controls': 'curl' }, name);
    tab.addEventListener('click', () => choose(name));
    byId('commands').append(tab);
  }
  byId('commands').addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const names = Object.keys(KINDS);
    choose(names.at((names.indexOf(kind) + step) % names.length));
    byId('commands').querySelector(`[data-kind=${kind}]`).focus();
  });
  byId('curl-copy').addEventListener('click', copy);
}

function choose(name) {
  kind = name;
  show();
}

export function show() {
  const { transports, log } = asked();
  for (const tab of byId('commands').children) {
    const chosen = tab.dataset.kind === kind;
    tab.setAttribute('aria-selected', String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  }
  byId('curl').textContent = KINDS[kind](transports, log);
  say(byId('commands-hint'), `commands.${kind}`);
}

async function copy() {
  const range = document.createRange();
  range.selectNodeContents(byId('curl'));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  try {
    // Absent where the page did not come over TLS or from this machine.
    await navigator.clipboard.writeText(byId('curl').textContent);
    say(byId('curl-copy'), 'copied');
  } catch {
    say(byId('curl-copy'), 'copy.by.hand');
  }
  setTimeout(() => say(byId('curl-copy'), 'copy'), 3_000);
}

const handle = () => `${location.origin}/handle`;

function curl(transports, log) {
  // The key itself is shown to nobody who looks on: README.md keeps it in this variable.
  const key = hasKey() ? '-H "Authorization: Bearer $KEY" ' : '';
  return transports.map((each) => `curl ${key}-d ${quote(request(each, log))} ${quote(handle())}`).join('\n\n');
}

function fourwire(transports, { name, data, level, id }) {
  const flags = [['--name', name], ['--level', level], ['--id', id]].filter(([, value]) => value);
  const words = flags.map(([flag, value]) => `${flag}=${quote(value)}`).join(' ');
  // A hyphen alone is standard input, and what begins with one would be a flag.
  const before = data === '-' ? 'echo - | ' : '';
  const text = data.startsWith('-') && data !== '-' ? `-- ${quote(data)}` : quote(data);
  return transports.map((each) => `${before}fourwire send --transport ${each} ${words} ${text}`).join('\n');
}

function python(transports, log) {
  const header = hasKey() ? ', {"Authorization": "Bearer " + os.environ["KEY"]}' : '';
  return `import ${hasKey() ? 'os, ' : ''}urllib.request

for body in [
${transports.map((each) => `    ${literal(request(each, log))},`).join('\n')}
]:
    request = urllib.request.Request(${literal(handle())}, body.encode()${header})
    with urllib.request.urlopen(request, timeout=10) as response:
        print(response.read().decode())`;
}

function go(transports, log) {
  const key = hasKey() ? '\n\t\trequest.Header.Set("Authorization", "Bearer "+os.Getenv("KEY"))' : '';
  return `package main

import (
	"io"
	"log"
	"net/http"
	"os"
	"strings"
)

func main() {
	for _, body := range []string{
${transports.map((each) => `\t\t${literal(request(each, log))},`).join('\n')}
	} {
		request, err := http.NewRequest("POST", ${literal(handle())}, strings.NewReader(body))
		if err != nil {
			log.Fatal(err)
		}${key}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			log.Fatal(err)
		}
		io.Copy(os.Stdout, response.Body)
		response.Body.Close()
	}
}`;
}

// It calls the logger: gRPC is its own.
function grpcurl(_, log) {
  return `grpcurl -plaintext -d ${quote(JSON.stringify({ log_entry: log }))} ${location.hostname}:50001 logs.LogService/WriteLog`;
}

// One word for a POSIX shell. Between single quotes nothing has a meaning but their end.
export function quote(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

// A text as both Python and Go write it. What cannot be seen is written by its number.
export function literal(text) {
  const written = text.replace(/["\\]|[\p{C}\p{Zl}\p{Zp}]/gu, (char) => {
    if (char === '"' || char === '\\') return `\\${char}`;
    if (char === '\n') return '\\n';
    return `\\U${char.codePointAt(0).toString(16).padStart(8, '0')}`;
  });
  return `"${written}"`;
}
