// Read parameters from `paramstore serve` in JavaScript: kept with their ETag, asked for again at each read, fail closed.
//   node examples/read_client.mjs http://127.0.0.1:8417 signal_weights.funding symbol=BTCUSDT

export class Client {
  #known = new Map(); // query → {etag, data, confirmed}

  constructor(address, { token, timeoutMs = 5000, maxAgeMs = 0 } = {}) {
    const { protocol, hostname } = new URL(address);
    const here = ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
    if (token && protocol !== 'https:' && !here) throw new Error(`the token would travel to ${hostname} in plain`);
    Object.assign(this, { address: address.replace(/\/+$/, ''), token, timeoutMs, maxAgeMs });
  }

  async values(context = {}) {
    const at = Object.entries(context).map(([name, value]) => ['at', `${name}=${value}`]).sort();
    const query = new URLSearchParams(at).toString();
    const known = this.#known.get(query);
    const headers = { Accept: 'application/json' };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    if (known) headers['If-None-Match'] = known.etag;
    const asked = Date.now();
    let answer, data;
    try {
      const signal = AbortSignal.timeout(this.timeoutMs);
      answer = await fetch(`${this.address}/api/v1/values?${query}`, { headers, signal, redirect: 'error' });
      data = answer.status === 304 ? known.data : await answer.json();
    } catch (error) {
      const age = known ? Date.now() - known.confirmed : Infinity;
      if (age <= this.maxAgeMs) return known.data;
      throw new Error(`${this.address} did not answer; what was last known is ${age / 1000} s old`, { cause: error });
    }
    if (!answer.ok && answer.status !== 304) throw new Error(data.detail);
    this.#known.set(query, { etag: answer.headers.get('ETag'), data, confirmed: asked });
    return data;
  }

  async get(key, context = {}) {
    const { values } = await this.values(context);
    if (!Object.hasOwn(values, key)) throw new Error(`\`${key}\` is not a known parameter.`); // never a default
    return values[key];
  }
}

if (import.meta.filename === process.argv[1]) {
  const [address, key, ...pairs] = process.argv.slice(2);
  const context = Object.fromEntries(pairs.map((pair) => pair.split(/=(.*)/s, 2)));
  const client = new Client(address, { token: process.env.PARAMSTORE_TOKEN });
  console.log(JSON.stringify(await client.get(key, context)));
}
