// One parameter: what it is now and why, how it came to be so, what binds it, and its values in every context.

import { html, nothing } from 'lit-html';
import { contextsView, ownPlaces, placeThatWins } from 'app/contexts';
import { bound, evidenceText, refusalText } from 'app/facts';
import { authorLink, empty, gauge, parameterHref, revisionLink, valueCell, valueClass } from 'app/parts';
import { rulesView } from 'app/rules';
import { present, state } from 'app/state';
import { concerns, trace } from 'app/trace';
import 'app/plot';

const PAGE = 500; // entries that are read at a time
const SHOWN = 50; // of them in the list
const MOST = 20000; // that are kept while the page stays open

export async function page(route, context) {
  const mine = new Parameter(route, context);
  await mine.read();
  return mine;
}

class Parameter {
  constructor(route, context) {
    this.key = route.arg;
    this.at = route.query.getAll('at');
    this.context = context;
    this.title = route.arg;
    this.shown = SHOWN;
    this.loading = false;
    this.chosen = null; // dimensions of the table of contexts
    this.every = false; // small plots of every context, not only of the first ones
    this.plots = new Map(); // what each plot was last given, so that it draws only what is new
    this.gone = false;
  }

  async read() {
    const { api } = this.context;
    const [found, past] = await Promise.all([this.#explained(), api.get(this.#past(PAGE))]);
    this.found = found;
    [this.entries, this.more] = [past.entries, past.more && !this.context.embedded]; // a report holds no older ones
  }

  #explained() {
    const { api } = this.context;
    return api.get(api.path(['parameters', this.key], { at: this.at }));
  }

  #past(limit, before) {
    return this.context.api.path(['parameters', this.key, 'history'], { limit, refused: true, before });
  }

  // --- what happens meanwhile ------------------------------------------------------------------------

  event(entry) {
    if (!concerns(entry, this.key) || this.entries.some((one) => one.id === entry.id)) return;
    if (entry.kind !== 'abort') this.entries = [...this.entries.slice(-MOST), entry];
    this.#again();
  }

  /** Something besides entries has changed: a file, its rules, the end of a freeze. */
  look() {
    this.#again();
  }

  leave() {
    this.gone = true;
  }

  /** Ask anew what stands; many wishes at once make one question more. */
  async #again() {
    if (this.asking) {
      this.stale = true;
      return;
    }
    this.asking = true;
    try {
      do {
        this.stale = false;
        this.found = await this.#explained();
      } while (this.stale && !this.gone);
    } catch (problem) {
      // The header says that the server is away; what was read stays. A parameter that is gone does not.
      if (problem.status === 404 && !this.gone) this.context.navigate(location.hash);
    }
    this.asking = false;
    if (!this.gone) this.context.rerender();
  }

  async #older() {
    if (this.loading) return;
    this.loading = true;
    this.context.rerender();
    try {
      const past = await this.context.api.get(this.#past(PAGE, this.entries[0]?.id));
      this.entries = [...past.entries, ...this.entries];
      this.more = past.more;
    } catch (problem) {
      this.trouble = problem.detail;
    }
    this.loading = false;
    if (!this.gone) this.context.rerender();
  }

  // --- what is shown ---------------------------------------------------------------------------------

  /** What `param-plot` is given: the same object as long as nothing in it is new. */
  plot(place, compact = false) {
    const { words } = this.context;
    const id = words.placeId(this.key, place);
    const row = state.places.get(id);
    const data = {
      key: this.key, place: id, context: place, compact, entries: this.entries, spec: this.found.spec,
      standing: row?.value, more: this.more, loading: this.loading,
    };
    const known = this.plots.get(id);
    if (known && Object.keys(data).every((name) => known[name] === data[name])) return known;
    this.plots.set(id, data);
    return data;
  }

  view() {
    const { found } = this;
    const place = placeThatWins(found, ownPlaces(this.key));
    const line = trace(this.entries, this.key, place, { spec: found.spec, standing: state.places.get(this.context.words.placeId(this.key, place))?.value, now: present() / 1000 });
    this.#check(place);
    return html`<article class="parameter">
      ${this.#head(place)} ${this.#notes()}
      <section aria-labelledby="past">
        <h2 id="past">Course of ${this.#which(place)}</h2>
        ${this.trouble ? html`<p class="told bad">${this.trouble}</p>` : nothing}
        <param-plot .data=${this.plot(place)} @older=${() => this.#older()}></param-plot>
      </section>
      <div class="columns">
        <section aria-labelledby="why"><h2 id="why">Why it has this value</h2>${this.#layers()}</section>
        <section aria-labelledby="rules"><h2 id="rules">What binds it</h2>${rulesView(found, line, this.more)}</section>
      </div>
      ${contextsView(this)} ${this.#list()}
    </article>`;
  }

  /** An edit by hand is no entry: where the files say something else than what was explained, ask again. */
  #check(place) {
    const { words, embedded } = this.context;
    const winner = this.found.layers.findLast((layer) => layer.applies && ['yaml', 'context'].includes(layer.name));
    const row = state.places.get(words.placeId(this.key, place));
    if (embedded || this.asking || !row || !winner || words.same(row.value, winner.value)) return;
    if (this.checked === row.value) return; // asked already, and the answer is what it was
    this.checked = row.value;
    this.#again();
  }

  #which(place) {
    const { words } = this.context;
    return words.isBase(place) ? 'the base value' : `the value for ${words.at(place).slice(1)}`;
  }

  #head(place) {
    const { words } = this.context;
    const { spec, value, context } = this.found;
    const text = words.value(value, spec.type);
    return html`<header class="head">
      <div>
        <h1>${this.key} ${words.isBase(context) ? nothing : html`<span class="dim">${words.at(context)}</span>`}</h1>
        <p class="big ${text.length > 24 ? 'long' : ''}"><span class="value pre">${text}</span> <span class="unit">${spec.unit}</span></p>
        <p>${gauge(value, spec.minimum, spec.maximum)} <span class="dim">${words.bounds(spec)}</span></p>
        ${spec.description ? html`<p class="pre">${spec.description}</p>` : nothing}
        ${this.#last(place)}
      </div>
      ${this.#buttons(place)}
    </header>`;
  }

  #last(place) {
    const { words } = this.context;
    const row = state.places.get(words.placeId(this.key, place));
    if (row?.edited_by_hand) return html`<p class="dim">Edited by hand; no revision holds it yet.</p>`;
    const last = row?.last_change;
    return last
      ? html`<p class="dim">Last changed ${words.ago(last.time)} by ${authorLink(last.author)}, revision ${revisionLink(last.revision)}.</p>`
      : html`<p class="dim">Never changed since the journal began.</p>`;
  }

  #buttons(place) {
    const { act, words } = this.context;
    const { key } = this;
    const frozen = this.found.frozen.find((freeze) => freeze.pattern === key);
    const value = state.places.get(this.context.words.placeId(key, place))?.value;
    return html`<div>
      ${act.offer(html`<div class="buttons">
        <button class="primary" @click=${() => act.set({ key, context: place, value })}>Set…</button>
        ${frozen
          ? html`<button @click=${() => act.unfreeze({ pattern: key })}>Unfreeze…</button>`
          : html`<button @click=${() => act.freeze({ pattern: key })}>Freeze…</button>`}
        <button title="baseline: ${words.MEANINGS.baseline}" @click=${() => act.approve({ pattern: key })}>Approve as baseline…</button>
        <button @click=${() => act.rollback({ keys: key })}>Roll back…</button>
      </div>`)}
      ${act.note?.() ?? nothing}
    </div>`;
  }

  #notes() {
    const { words } = this.context;
    const said = ownPlaces(this.key).flatMap((row) =>
      (state.notes.get(words.placeId(row.key, row.context)) ?? []).map((note) => ({ ...note, at: row.context })),
    );
    const { frozen } = this.found;
    if (!said.length && !frozen.length) return nothing;
    return html`<ul class="notes" aria-label="Notes">
      ${frozen.map((f) => html`<li>
        <span class="chip held">frozen</span> by ${authorLink(f.author)} since ${words.time(f.since)}${f.until ? html`, until ${words.time(f.until)}` : nothing}
        (<code>${f.pattern}</code>): ${f.reason}
      </li>`)}
      ${said.filter((note) => note.rule !== 'frozen').map((note) => html`<li class=${words.isFinding(note) ? 'finding' : 'quiet'}>
        ${words.isFinding(note) ? html`<span aria-hidden="true">▲</span> ` : nothing}${words.isBase(note.at) ? nothing : `${words.at(note.at)}: `}${note.text}
      </li>`)}
    </ul>`;
  }

  #layers() {
    const { words } = this.context;
    const { layers, spec } = this.found;
    return html`<div class="scroll" tabindex="0" role="region" aria-label="Layers, lowest first"><table class="plain wide narrow-names">
      <thead><tr><th scope="col">layer</th><th scope="col" class="right">value</th><th scope="col">from</th><th scope="col">applies</th></tr></thead>
      <tbody>${layers.map((layer) => html`<tr class=${layer.wins ? 'wins' : layer.applies ? '' : 'passive'}>
        <th scope="row">${layer.name}</th>
        <td class="right">${valueCell(layer.value, spec.type)}</td>
        <td>${layer.source}</td>
        <td>${layer.wins ? '← wins' : layer.applies ? '' : 'does not apply here'}</td>
      </tr>`)}</tbody>
    </table></div>
    <p class="dim">A read gets the value of the lowest row that applies.</p>`;
  }

  // --- entries ---------------------------------------------------------------------------------------

  #list() {
    const { context, entries } = this;
    if (!entries.length) return empty('No entry of the journal speaks of this parameter yet.');
    const shown = entries.slice(-this.shown).reverse();
    const more = () => {
      this.shown += PAGE;
      if (this.shown > entries.length && this.more) this.#older();
      context.rerender();
    };
    return html`<section aria-labelledby="entries">
      <h2 id="entries">Entries <span class="dim">${context.words.count(entries.length, 'read entry', 'read entries')}, newest first</span></h2>
      <table class="plain entries wide">
        <thead><tr>
          <th scope="col" class="right">revision</th><th scope="col">time</th><th scope="col">kind</th><th scope="col">by</th>
          <th scope="col">change</th><th scope="col">reason and evidence</th><th scope="col"><span class="hidden">actions</span></th>
        </tr></thead>
        <tbody>${shown.map((entry) => this.#entry(entry))}</tbody>
      </table>
      ${entries.length > shown.length || this.more ? html`<p><button ?disabled=${this.loading} @click=${more}>Older entries</button></p>` : nothing}
    </section>`;
  }

  #entry(entry) {
    const { act, words } = this.context;
    const mine = (entry.changes ?? []).filter((change) => change.key === this.key);
    const valued = mine.length && entry.kind !== 'refusal';
    const back = () => act.rollback({ to: entry.revision, keys: this.key });
    return html`<tr data-row tabindex="-1">
      <td class="right">${revisionLink(entry.revision)}</td>
      <td class="when">${words.time(entry.time)}</td>
      <td>${words.kind(entry)}</td>
      <td>${authorLink(entry.author)}</td>
      <td class="what">${mine.length ? mine.map((change) => this.#change(change)) : this.#told(entry)}</td>
      <td class="why">${entry.reason}${Object.keys(entry.evidence ?? {}).length ? html` <span class="dim">${evidenceText(entry.evidence)}</span>` : nothing}</td>
      <td class="nowrap">${valued && entry.revision < this.found.revision ? act.offer(html`<button class="plain-button" @click=${back} aria-label="Roll back to revision ${entry.revision}…">roll back…</button>`) : nothing}</td>
    </tr>`;
  }

  #change(change) {
    const { words } = this.context;
    const at = words.isBase(change.context) ? nothing : html`<a href=${parameterHref(change.key, change.context)}>${words.at(change.context)}</a> `;
    return html`<div>${at}<span class=${valueClass(change.old, change.new)}>${words.change(change.old, change.new, this.found.spec.type)}</span> ${bound(change)}</div>`;
  }

  #told(entry) {
    const { words } = this.context;
    const details = entry.details ?? {};
    const broken = (details.violations ?? []).filter((item) => item?.key === this.key);
    if (broken.length) return broken.map((item) => html`<div>${refusalText(item)}</div>`);
    const approved = (details.baselines ?? []).filter((item) => item?.key === this.key);
    if (approved.length) return approved.map((item) => html`<div>baseline ${words.place('', item.context).trim()} ${words.value(item.value, this.found.spec.type)}</div>`);
    return html`<code>${details.pattern}</code>${details.until ? html` until ${words.time(details.until)}` : nothing}`;
  }
}
