// A request as the line of a shell that does the same.

import { hasKey, request } from './api.js';

export function curl(transport, log) {
  // The key itself is shown to nobody who looks on: README.md keeps it in this variable.
  const key = hasKey() ? '-H "Authorization: Bearer $KEY" ' : '';
  return `curl ${key}-d ${quote(request(transport, log))} ${quote(`${location.origin}/handle`)}`;
}

// One word for a POSIX shell. Between single quotes nothing has a meaning but their end.
export function quote(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
