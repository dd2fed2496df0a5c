// Talks with the front: the one place that asks for anything.

// Asks, and reads the envelope. Throws the refusal if it is one.
export async function ask(path, options = {}) {
  const response = await fetch(path, { cache: 'no-store', ...options });
  const body = await response.json();
  if (body.error) throw Object.assign(new Error(body.message), { status: response.status, code: body.data.code });
  return { status: response.status, data: body.data };
}

export const post = (path, body, headers = {}) => ask(path, { method: 'POST', body: JSON.stringify(body), headers });

// Sends an order. What is unknown is sent again with the same id, for as long as it takes: that is what the id is for.
export async function place(id, basket, tell) {
  for (;;) {
    try {
      return await post('/api/orders', basket, { 'Idempotency-Key': id, traceparent: traceparent() });
    } catch (error) {
      if (error.status && error.status < 500) throw error;
      tell(error);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

// The trace begins with the buyer.
function traceparent() {
  const hex = (bytes) => [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return `00-${hex(16)}-${hex(8)}-01`;
}

// The catalogue, line by line as it comes.
export async function* products() {
  const response = await fetch('/api/products', { cache: 'no-store' });
  if (!response.ok) throw new Error(`status ${response.status}`);
  const lines = response.body.pipeThrough(new TextDecoderStream());
  let rest = '';
  for await (const text of chunks(lines)) {
    const found = (rest + text).split('\n');
    rest = found.pop();
    for (const line of found) yield JSON.parse(line);
  }
}

async function* chunks(stream) {
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}
