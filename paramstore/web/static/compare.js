// Two revisions or times compared, or two contexts: only what differs.

import { html, nothing } from 'lit-html';
import { differencesTable, namespacesText, rulesTable } from 'app/differences';
import { empty, knownValues, trouble } from 'app/parts';
import * as words from 'app/words';

export async function page(route, context) {
  const mine = new Compare(route.query, context);
  await mine.read();
  return mine;
}

/** `@symbol=BTCUSDT,regime=trend` → its words; a comma within a value stays, since no `name=` follows it. */
const wordsOf = (side) => side.slice(1).split(/,(?=[A-Za-z_][\w-]*=)/).filter(Boolean);

const address = (a, b) => `#/compare?${new URLSearchParams({ a, b })}`;

class Compare {
  constructor(query, context) {
    this.context = context;
    this.title = 'Compare';
    const newest = context.health?.revision ?? 0;
    this.asked = query.has('a') || query.has('b');
    this.ofContexts = ['a', 'b'].some((side) => query.get(side)?.startsWith('@'));
    // What is not named: the base of contexts, the newest revision and the one before it.
    this.a = query.get('a') ?? (this.ofContexts ? '' : String(Math.max(newest - 1, 0)));
    this.b = query.get('b') ?? (this.ofContexts ? '' : String(newest));
    this.all = false;
    this.found = null;
    this.problem = null;
  }

  async read() {
    const { api } = this.context;
    if (!this.asked && !this.context.health?.revision) return; // nothing was committed yet, and nobody asked
    try {
      if (this.ofContexts) {
        const [a, b] = [wordsOf(this.a), wordsOf(this.b)];
        this.found = asComparison(await api.get(api.path(['contexts'], { a, b })));
      } else {
        this.found = await api.get(api.path(['diff'], { a: this.a, b: this.b }));
      }
      [this.title, this.problem] = [`Compare ${this.a || 'base'} and ${this.b || 'base'}`, null];
    } catch (problem) {
      if (!(problem instanceof api.Problem) || problem.status === 401) throw problem;
      [this.found, this.problem] = [null, problem];
    }
  }

  /** Contexts are compared as they are now; revisions stay what they were. */
  event() {
    if (!this.ofContexts || this.waits) return;
    this.waits = setTimeout(() => {
      this.waits = 0;
      this.read().then(() => this.context.rerender(), () => {});
    }, 500);
  }

  leave() {
    clearTimeout(this.waits);
  }

  view() {
    return html`<h1>Compare</h1>
      ${this.#form()}
      ${this.problem ? trouble(this.problem, () => this.#go(this.a, this.b)) : this.#result()}`;
  }

  // --- what to compare ---------------------------------------------------------------------------------

  #go(a, b) {
    this.context.navigate(address(a, b));
  }

  #form() {
    const submit = (event) => {
      event.preventDefault();
      const data = new FormData(event.target);
      if (this.ofContexts) this.#go(...['a', 'b'].map((side) => contextText(data, side)));
      else this.#go(...['a', 'b'].map((side) => words.zoned(data.get(side).trim())));
    };
    const kind = (ofContexts) => this.#go(...(ofContexts ? ['@', '@'] : [String(Math.max((this.context.health?.revision ?? 1) - 1, 0)), String(this.context.health?.revision ?? 0)]));
    return html`<form class="compare" @submit=${submit}>
      <label><span>Compare</span>
        <select @change=${(event) => kind(event.target.value === 'contexts')}>
          <option value="revisions" ?selected=${!this.ofContexts}>two revisions or times</option>
          <option value="contexts" ?selected=${this.ofContexts}>two contexts</option>
        </select></label>
      ${this.ofContexts ? [this.#contextFields('a', 'First'), this.#contextFields('b', 'Second')] : this.#revisionFields()}
      <button class="primary">Compare</button>
      <button type="button" @click=${() => this.#go(this.b, this.a)}>⇄ Swap</button>
    </form>`;
  }

  #revisionFields() {
    const field = (name, word) => html`<label><span>${word}</span>
      <input name=${name} .value=${this[name]} required maxlength="100" autocomplete="off" spellcheck="false" placeholder="12 or 2026-01-31 12:00" /></label>`;
    return html`${field('a', 'Old: revision or time')} ${field('b', 'New: revision or time')}`;
  }

  #contextFields(side, word) {
    const given = Object.fromEntries(wordsOf(this[side]).map((text) => text.split(/=(.*)/s).slice(0, 2)));
    const dimensions = this.context.health?.dimensions ?? [];
    if (!dimensions.length) return html`<p>This store has no dimensions, so there is only one context.</p>`;
    return html`<fieldset>
      <legend>${word} context</legend>
      ${dimensions.map((one) => html`<label><span>${one.name}</span>${this.#contextField(`${side}:${one.name}`, one, given[one.name] ?? '')}</label>`)}
      ${side === 'a' ? dimensions.map((one) => html`<datalist id="values-${one.name}">${knownValues(one).map((value) => html`<option value=${value}></option>`)}</datalist>`) : nothing}
    </fieldset>`;
  }

  #contextField(name, dimension, value) {
    const listed = dimension.choices ?? (dimension.type === 'boolean' ? [true, false] : null);
    if (!listed) return html`<input name=${name} .value=${value} list="values-${dimension.name}" maxlength="200" autocomplete="off" spellcheck="false" placeholder="any" />`;
    const offered = new Set([...listed.map((one) => words.value(one)), value].filter(Boolean)); // an address may hold any
    return html`<select name=${name}>
      <option value="" .selected=${!value}>any</option>
      ${[...offered].map((one) => html`<option value=${one} .selected=${one === value}>${one}</option>`)}
    </select>`;
  }

  // --- what differs --------------------------------------------------------------------------------------

  #result() {
    const { found } = this;
    if (!found) return empty('The journal is empty: there is nothing to compare yet.');
    const count = found.changes.length;
    const nothingDiffers = !count && !found.rules.length && !found.namespaces.came.length && !found.namespaces.went.length;
    const names = this.ofContexts ? [this.#name(this.a), this.#name(this.b)] : ['old', 'new'];
    return html`<p role="status">
        <strong>${this.#name(this.a)} → ${this.#name(this.b)}:</strong>
        ${nothingDiffers ? 'nothing differs.' : `${words.count(count, 'value differs', 'values differ')}${found.rules.length ? `, ${words.count(found.rules.length, 'rule')} changed` : ''}.`}
        <span class="dim">${this.#parts(found.changes)}</span>
      </p>
      ${namespacesText(found.namespaces)} ${count ? differencesTable(found.changes, this, { names }) : nothing} ${rulesTable(found.rules)}`;
  }

  #name(side) {
    if (!this.ofContexts) return /^\d+$/.test(side) ? `revision ${side}` : side;
    return wordsOf(side).join(', ') || 'no context';
  }

  #parts(changes) {
    const numbers = { raised: 0, lowered: 0, 'newly set': 0, removed: 0, otherwise: 0 };
    for (const c of changes) {
      if (!('old' in c)) numbers['newly set'] += 1;
      else if (!('new' in c)) numbers.removed += 1;
      else if (c.absolute > 0) numbers.raised += 1;
      else if (c.absolute < 0) numbers.lowered += 1;
      else numbers.otherwise += 1;
    }
    if (changes.length === numbers.otherwise) return '';
    return Object.entries(numbers).filter(([, n]) => n).map(([word, n]) => `${n} ${word}`).join(', ');
  }
}

/** The answer about contexts in the form of a comparison, so that one table shows both. */
const asComparison = (found) => ({
  namespaces: { came: [], went: [] },
  rules: [],
  changes: found.differences.map((one) => {
    const numbers = typeof one.a === 'number' && typeof one.b === 'number';
    const absolute = numbers ? Number((one.b - one.a).toPrecision(12)) : null;
    return {
      key: one.key, context: {}, unit: one.unit, old: one.a, new: one.b, absolute,
      relative: numbers && one.a !== 0 ? absolute / Math.abs(one.a) : null,
      position: { old: words.position(one.a, one.minimum, one.maximum), new: words.position(one.b, one.minimum, one.maximum) },
    };
  }),
});

function contextText(data, side) {
  const chosen = [];
  for (const [name, value] of data) {
    if (name.startsWith(`${side}:`) && value.trim()) chosen.push(`${name.slice(side.length + 1)}=${value.trim()}`);
  }
  return `@${chosen.join(',')}`;
}
