// What came of each change: outcomes before and after it, the verdict, and what would be needed to tell.

import { html, nothing } from 'lit-html';
import { authorLink, empty, parameterLink, revisionLink, valueClass } from 'app/parts';
import { typeOf } from 'app/state';
import * as words from 'app/words';
import 'app/forest_plot';

const ROWS = 40; // of the drawing and of the table, until all are asked for; whatever has a verdict is always shown
const SHOWN = 3; // changes of one entry that its row spells out
const PENDING_MS = 1500;
const REST_MS = 15000; // how soon after a commit the figures are asked for again

export async function page(route, context) {
  const mine = new Scorecard(context, route.query);
  await mine.read();
  return mine;
}

const decided = (one) => one.verdict !== 'cannot tell';
const size = (one) => Math.abs(one.mean_difference ?? 0);

/** Orders of a list that is newest first. */
const ORDERS = {
  verdict: ['verdicts first, largest effect on top', (list) => [...largest(list.filter(decided)), ...list.filter((one) => !decided(one))]],
  effect: ['largest effect first', (list) => largest(list)],
  newest: ['newest first', (list) => list],
};
const largest = (list) => [...list].sort((a, b) => size(b) - size(a));

const MEASURES = { mean: 'difference of the mean', win_rate: 'difference of the win rate, in points' };
const VERDICTS = ['better', 'worse', 'cannot tell'];
const USUAL = { show: 'compared', order: 'verdict', measure: 'mean' }; // `show`: compared, all, or a verdict

class Scorecard {
  constructor(context, query) {
    this.context = context;
    this.title = 'Scorecard';
    this.card = null;
    this.without = !context.health?.scorecard; // nobody gave outcomes
    this.all = false;
    for (const [name, among] of [['show', ['all', ...VERDICTS]], ['order', Object.keys(ORDERS)], ['measure', Object.keys(MEASURES)]]) {
      this[name] = among.includes(query.get(name)) ? query.get(name) : USUAL[name];
    }
    this.timer = 0;
  }

  async read() {
    if (this.without) return;
    const found = await this.context.api.get('scorecard');
    if (found.pending) return this.#later(PENDING_MS);
    this.card = found;
    this.#draw();
  }

  #later(rest) {
    if (this.timer || this.context.embedded) return;
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.read().then(() => this.context.rerender(), () => {});
    }, rest);
  }

  event(entry) {
    if (!this.without && ['commit', 'rollback', 'external'].includes(entry.kind)) this.#later(REST_MS);
  }

  leave() {
    clearTimeout(this.timer);
  }

  // --- what is shown ---------------------------------------------------------------------------------

  /** The rows of table and drawing; made only when something about them has changed. */
  #draw() {
    const changes = [...this.card.changes].reverse();
    this.compared = changes.filter((one) => one.mean_interval);
    const chosen = { all: changes, compared: this.compared }[this.show] ?? changes.filter((one) => one.verdict === this.show);
    this.listed = ORDERS[this.order][1](chosen);
    this.shown = this.listed.filter((one, place) => this.all || place < ROWS || decided(one));
    const name = this.measure === 'mean' ? 'mean' : 'win_rate';
    const scale = this.measure === 'mean' ? 1 : 100;
    const drawn = this.shown.filter((one) => one[`${name}_interval`]);
    this.forest = {
      rows: drawn.map((one) => ({
        label: `${one.revision} ${one.author}`, revision: one.revision, verdict: one.verdict,
        difference: one[`${name}_difference`] * scale, low: one[`${name}_interval`][0] * scale, high: one[`${name}_interval`][1] * scale,
      })),
    };
  }

  #set(name, value) {
    this[name] = value;
    const said = Object.keys(USUAL).filter((each) => this[each] !== USUAL[each]).map((each) => [each, this[each]]);
    if (name in USUAL) this.context.navigate(`#/scorecard${said.length ? `?${new URLSearchParams(said)}` : ''}`, { replace: true });
    this.#draw();
    this.context.rerender();
  }

  view() {
    if (this.without) return this.#howTo();
    if (!this.card) return html`<h1>Scorecard</h1><p class="state" role="status">Outcomes are being read…</p>`;
    const { card } = this;
    return html`<h1>Scorecard <span class="dim">${card.metric}</span></h1>
      ${this.#summary(card)}
      ${card.changes.length ? html`${this.#switches()} ${this.forest.rows.length ? this.#picture() : nothing} ${this.#table()}` : empty('No change is recorded yet, so there is nothing to judge.')}
      ${this.#explained(card)} ${this.#problems(card.problems)}`;
  }

  #summary(card) {
    const of = (verdict) => card.changes.filter((one) => one.verdict === verdict).length;
    return html`<p class="steps">
      ${VERDICTS.map((verdict) => html`<button type="button" class="plain-button ${CLASS[verdict]}" aria-pressed=${String(this.show === verdict)}
        title=${this.show === verdict ? 'Show the others, too' : 'Show only these'} @click=${() => this.#set('show', this.show === verdict ? USUAL.show : verdict)}
        >${of(verdict)} ${verdict}</button>`)}
      <span class="dim">${words.count(card.outcomes, 'outcome')} over ${words.count(card.revisions.length, 'revision')}; ${words.count(card.compared, 'change')} compared</span>
    </p>`;
  }

  #switches() {
    return html`<div class="line">
      <label><span class="dim">Measure</span> <select @change=${(e) => this.#set('measure', e.target.value)}>
        ${Object.entries(MEASURES).map(([name, word]) => option(name, word, this.measure))}
      </select></label>
      <label><span class="dim">Changes</span> <select @change=${(e) => this.#set('show', e.target.value)}>
        ${option('compared', `with outcomes on both sides (${this.compared.length})`, this.show)}
        ${VERDICTS.map((verdict) => option(verdict, `only ${verdict}`, this.show))}
        ${option('all', `all (${this.card.changes.length})`, this.show)}
      </select></label>
      <label><span class="dim">Order</span> <select @change=${(e) => this.#set('order', e.target.value)}>
        ${Object.entries(ORDERS).map(([name, [word]]) => option(name, word, this.order))}
      </select></label>
    </div>`;
  }

  #picture() {
    const what = this.measure === 'mean' ? `mean of ${this.card.metric}` : 'win rate, in points';
    return html`<section aria-labelledby="forest">
      <h2 id="forest">After minus before: ${what}</h2>
      <div role="img" aria-label="One interval for each of ${this.forest.rows.length} changes, ${ORDERS[this.order][0]}; the table below says the same in numbers.">
        <forest-plot .data=${this.forest}></forest-plot>
      </div>
      <p class="dim"><span class="better">better</span> and <span class="worse">worse</span>: the whole interval lies on one side of zero. <span class="unsure">cannot tell</span>: it does not,
        or the outcomes are too few. An arrow: the interval goes on beyond the drawing. A click opens the revision.</p>
    </section>`;
  }

  #table() {
    const { shown } = this;
    if (!shown.length) return empty('There is no such change.');
    return html`<div class="scroll" tabindex="0" role="region" aria-label="Changes and what came of them"><table class="plain wide">
        <thead><tr>
          <th scope="col" class="right">revision</th><th scope="col">change</th><th scope="col">by</th><th scope="col">verdict, and why</th>
          <th scope="col" class="right">before</th><th scope="col" class="right">after</th><th scope="col" class="right">mean difference</th>
          <th scope="col" class="right">win rate difference, points</th>
        </tr></thead>
        <tbody>${shown.map((one) => this.#row(one))}</tbody>
      </table></div>
      ${this.listed.length > shown.length ? html`<p><button @click=${() => this.#set('all', true)}>Show all ${this.listed.length.toLocaleString('en')} changes</button></p>` : nothing}`;
  }

  #row(one) {
    const more = one.changes.length - SHOWN;
    return html`<tr data-row tabindex="-1">
      <td class="right">${revisionLink(one.revision)}</td>
      <td class="what">${one.changes.slice(0, SHOWN).map((c) => html`<div>${parameterLink(c.key, c.context)} <span class=${valueClass(c.old, c.new)}>${words.change(c.old, c.new, typeOf(c.key))}</span></div>`)}
        ${more > 0 ? html`<div class="dim">and ${more} more</div>` : nothing}${one.reason ? html`<div class="dim">${one.reason}</div>` : nothing}</td>
      <td>${authorLink(one.author)}<div class="dim nowrap">${words.ago(one.time)}</div></td>
      <td class="because"><span class=${CLASS[one.verdict] ?? ''}>${one.verdict}</span><div class="dim">${why(one)}</div></td>
      <td class="right num" data-name="before">${side(one.before)}</td>
      <td class="right num" data-name="after">${side(one.after)}</td>
      <td class="right num" data-name="mean">${difference(one.mean_difference, one.mean_interval)}</td>
      <td class="right num" data-name="win rate">${difference(one.win_rate_difference, one.win_rate_interval, 100)}</td>
    </tr>`;
  }

  #explained(card) {
    return html`<section aria-labelledby="how">
      <h2 id="how">How this is judged</h2>
      <p>Before: outcomes since the previous change of one of the same keys. After: outcomes until the next one. The verdict is about the mean.</p>
      <p>A later outcome that differs does not prove that the change is why: markets move, too, and other changes fall into the same time (they are named).</p>
      <p><strong>“Cannot tell”</strong> is no fault. It says that the difference seen may well be chance, or that one side has fewer than ${card.min_count} outcomes.
        What “this difference takes” is how many outcomes on each side would show a difference of the size seen.</p>
      ${card.compared ? html`<p>All verdicts together hold with a level of ${card.level}: each of the ${words.count(card.compared, 'interval')} is at ${Number(card.adjusted_level.toPrecision(6))}.</p>` : nothing}
    </section>`;
  }

  #problems(problems) {
    if (!problems?.count) return nothing;
    return html`<details class="more">
      <summary>${words.count(problems.count, 'line')} of the outcomes left out: ${Object.entries(problems.kinds).map(([kind, count]) => `${kind} (${count})`).join(', ')}</summary>
      <ul>${problems.first.slice(0, 50).map((one) => html`<li>line ${one.line}: ${one.problem}</li>`)}</ul>
    </details>`;
  }

  #howTo() {
    return html`<h1>Scorecard</h1>
      <section class="state">
        <p>The scorecard holds what came of your decisions against the changes of the parameters that they were made with.
          It needs a file of outcomes: one JSON object a line, with the revision that each decision was made at and how it ended.</p>
        <ol>
          <li>When a decision is made, keep what <code>params.stamp()</code> gives (in <code>with params.snapshot() as p:</code> it is <code>p.stamp()</code>).</li>
          <li>When it has ended, write one line: <code>{"params_revision": 412, "params_digest": "…", "pnl_bps": 3.1}</code></li>
          <li>Start the page with it: <code>paramstore serve --outcomes outcomes.jsonl --metric pnl_bps</code></li>
        </ol>
      </section>`;
  }
}

const option = (value, word, chosen) => html`<option value=${value} .selected=${value === chosen}>${word}</option>`;

const CLASS = { better: 'better', worse: 'worse', 'cannot tell': 'unsure' };

const short = (number) => String(Number(number.toPrecision(4)));

const side = (tally) =>
  tally.count
    ? html`${tally.count.toLocaleString('en')}<div class="dim">mean ${short(tally.mean)}</div><div class="dim">${(tally.win_rate * 100).toFixed(1)} % won</div>`
    : html`<span class="dim">none</span>`;

function difference(value, interval, scale = 1) {
  if (value === null || value === undefined) return nothing;
  const signed = (number) => `${number > 0 ? '+' : ''}${Number((number * scale).toPrecision(3))}`;
  return html`${signed(value)}${interval ? html`<div class="dim">${signed(interval[0])} … ${signed(interval[1])}</div>` : nothing}`;
}

const why = (one) => html`${one.why}${one.shared_with.length ? html`<div class="dim">shared with ${one.shared_with.length === 1 ? 'revision' : 'revisions'} ${one.shared_with.slice(0, SHOWN).map((n, index) => html`${index ? ', ' : nothing}${revisionLink(n)}`)}${one.shared_with.length > SHOWN ? ` and ${one.shared_with.length - SHOWN} more` : nothing}</div>` : nothing}`;
