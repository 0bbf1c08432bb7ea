// The learners: how often they come, how they fare, and whether they have fallen silent; and one of them.

import { html, nothing } from 'lit-html';
import { perDay } from 'app/count_plot';
import { bound, evidenceText, refusalText, ruleText } from 'app/facts';
import { authorLink, authorSign, empty, learnerHref, notes, parameterLink, revisionLink, trouble, valueCell, valueClass } from 'app/parts';
import { present, readDoctor, state, typeOf } from 'app/state';
import { readAuthors } from 'app/entry';
import * as words from 'app/words';
import 'app/spark';

const PAGE = 1000; // entries that are read at a time
const WANTED = 50; // that are shown at a time
const NO_CHANGES = 3; // changes of one entry that its line spells out

export async function page(route, context) {
  if (!state.doctor && !state.doctorProblem) await readDoctor();
  if (route.name === 'learner') {
    const mine = new Learner(route.arg, context);
    await mine.read();
    return mine;
  }
  let who = await did(context.api);
  return {
    title: 'Learners',
    view: () => listView(who),
    event(entry) {
      if (!['refusal', 'commit'].includes(entry.kind)) did(context.api).then((now) => ((who = now), context.rerender()), () => {});
    },
  };
}

/** What each author did, by kinds of entries. */
const did = async (api) => new Map((await readAuthors(api)).map((one) => [one.author, one.kinds]));

/** What somebody did who never committed: rollback 2×, approval 1×. */
const acts = (kinds = {}) =>
  Object.entries(kinds).filter(([kind]) => kind !== 'refusal').sort().map(([kind, count]) => `${words.kinds[kind] ?? kind} ${count.toLocaleString('en')}×`).join(', ');

// --- all of them --------------------------------------------------------------------------------------

function listView(who) {
  if (state.doctorProblem && !state.doctor) return trouble(state.doctorProblem, () => readDoctor());
  if (!state.doctor) return html`<h1>Learners</h1><p class="state" role="status">The journal is being examined…</p>`;
  const { learners } = state.doctor;
  const learning = learners.filter((one) => one.learns);
  const people = learners.filter((one) => !one.learns);
  return html`<h1>Learners</h1>
    ${learning.length ? table(learning, 'Learners', who) : empty('Nobody owns a parameter, and nobody has changed one with evidence yet.')}
    ${people.length ? html`<h2>People and programs that change values without evidence</h2>${table(people, 'Others', who)}` : nothing}
    ${age()}`;
}

const age = () => html`<p class="dim">As of ${words.span(state.doctor.age_s ?? 0)} ago.</p>`;

const table = (learners, name, who) => html`<div class="scroll" tabindex="0" role="region" aria-label=${name}><table class="plain wide">
  <thead><tr>
    <th scope="col">${name === 'Learners' ? 'learner' : 'author'}</th><th scope="col">state</th><th scope="col">last commit</th><th scope="col">usual interval</th>
    <th scope="col" class="right">commits</th><th scope="col" class="right">refused</th><th scope="col">rules broken</th><th scope="col">owns</th><th scope="col">notes</th>
  </tr></thead>
  <tbody>${learners.map((one) => html`<tr data-row tabindex="-1">
    <th scope="row"><a href=${learnerHref(one.learner)}>${authorSign(one.learner)}${one.learner}</a></th>
    <td class="nowrap">${stateText(one)}</td>
    <td data-name="last commit" class="nowrap">${one.last_commit ? words.ago(one.last_commit) : html`<span class="dim">never${acts(who.get(one.learner)) ? `; ${acts(who.get(one.learner))}` : ''}</span>`}</td>
    <td data-name="every" class="nowrap">${one.usual_interval_s === null ? nothing : words.span(one.usual_interval_s)}</td>
    <td data-name="commits" class="right num">${one.commits.toLocaleString('en')}</td>
    <td data-name="refused" class="right num">${one.refusals.toLocaleString('en')}</td>
    <td>${refusedBy(one)}</td>
    <td data-name="owns" class="num">${one.owns.length || nothing}</td>
    <td>${one.notes.map((note) => html`<div class=${note.level === 'finding' ? 'looser' : 'dim'}>${note.level === 'finding' ? html`<span aria-hidden="true">▲</span> ` : nothing}${note.text}</div>`)}</td>
  </tr>`)}</tbody>
</table></div>`;

/** Whether a learner is alive, in the words of `paramstore doctor`. */
function stateText(one) {
  if (!one.learns) return html`<span class="dim">not a learner</span>`;
  if (!one.last_attempt) return html`<span class="chip finding">▲ never committed</span>`;
  if (one.silent === null) return html`<span class="dim">too new to tell</span>`;
  return one.silent ? html`<span class="chip finding">▲ silent for ${words.span((present() - Date.parse(one.last_attempt)) / 1000)}</span>` : html`<span class="chip">alive</span>`;
}

const refusedBy = (one) =>
  html`${Object.entries(one.refused_by).map(([rule, count], index) => html`${index ? ', ' : nothing}<span title=${ruleText(rule)}>${rule}</span> <span class="dim">${count.toLocaleString('en')}×</span>`)}${several(one) ? html`<div class="dim">${several(one)}</div>` : nothing}`;

/** Why the counts of the rules are more than the refusals. */
const several = ({ refused_by: by, refusals }) =>
  Object.values(by).reduce((a, b) => a + b, 0) > refusals ? 'one attempt may break several rules' : '';

// --- one of them ----------------------------------------------------------------------------------------

class Learner {
  constructor(name, context) {
    [this.name, this.title, this.context] = [name, name, context];
    this.entries = [];
    this.oldest = undefined;
    this.more = true;
    this.shown = WANTED;
    this.loading = false;
  }

  async read() {
    const { api, embedded } = this.context;
    const past = await api.get(api.path(['history'], { limit: PAGE, refused: true, author: this.name, before: this.oldest }));
    this.entries = [...past.entries.filter((entry) => entry.author === this.name), ...this.entries];
    [this.oldest, this.more] = [past.entries[0]?.id, past.more && !embedded]; // a report holds one page
    this.kinds = (await did(api)).get(this.name);
    this.#count();
  }

  #count() {
    const counted = this.entries.filter((entry) => ['commit', 'refusal', 'rollback'].includes(entry.kind));
    this.days = perDay(counted, present());
  }

  event(entry) {
    if (entry.author !== this.name || this.entries.some((one) => one.id === entry.id)) return;
    this.entries = [...this.entries, entry];
    this.kinds = { ...this.kinds, [entry.kind]: (this.kinds?.[entry.kind] ?? 0) + 1 };
    this.#count();
  }

  async #older() {
    this.loading = true;
    this.context.rerender();
    try {
      if (this.more && this.entries.length < this.shown + WANTED) await this.read();
      this.shown += WANTED;
    } catch (problem) {
      this.problem = problem;
    }
    this.loading = false;
    this.context.rerender();
  }

  view() {
    const mine = state.doctor?.learners.find((one) => one.learner === this.name);
    if (!mine && !this.entries.length) return this.#unknown();
    return html`<article>
      <header class="head">
        <div>
          <h1>${authorSign(this.name)}${this.name}</h1>
          ${mine ? this.#figures(mine) : html`<p class="dim">${state.doctor ? this.#stranger() : 'The journal is being examined…'}</p>`}
        </div>
        ${this.#actions(mine)}
      </header>
      ${mine?.notes.length ? html`<ul class="notes">${mine.notes.map((note) => html`<li class=${note.level}>${note.text}</li>`)}</ul>` : nothing}
      ${this.days ? html`<section aria-labelledby="days"><h2 id="days">Entries a day</h2>${this.#days()}</section>` : nothing}
      ${this.#parameters()} ${this.#list()}
    </article>`;
  }

  #unknown() {
    const { api } = this.context;
    return trouble(new api.Problem(404, { detail: `${this.name} is no learner here, and no entry of the journal bears this name.` }));
  }

  #stranger() {
    if (this.name === 'external') return `Nobody’s name: so the store calls what it found in its files and no commit had written, which is edits by hand and values as first recorded. In the journal: ${acts(this.kinds)}.`;
    return `It owns no parameter and has committed nothing${acts(this.kinds) ? `; ${acts(this.kinds)}` : ''}.`;
  }

  #figures(mine) {
    return html`<p class="steps">
        ${stateText(mine)}
        <span>${mine.last_commit ? html`last commit ${words.ago(mine.last_commit)}` : `never committed${acts(this.kinds) ? `; ${acts(this.kinds)}` : ''}`}</span>
        ${mine.usual_interval_s === null ? nothing : html`<span>usually every ${words.span(mine.usual_interval_s)}</span>`}
        ${mine.commits ? html`<span>${words.count(mine.commits, 'commit')}</span>` : nothing}
        <span>${words.count(mine.refusals, 'refusal')}</span>
      </p>
      ${mine.refusals ? html`<p>Rules broken: ${Object.entries(mine.refused_by).map(([rule, count], index) => `${index ? ', ' : ''}${ruleText(rule)} ${count}×`)}${several(mine) ? `; ${several(mine)}` : ''}.</p>` : nothing}`;
  }

  #actions(mine) {
    const { act } = this.context;
    if (!mine) return nothing;
    return act.offer(html`<div class="buttons"><button @click=${() => act.rollback({ by: this.name })}>Take back what it did…</button></div>`);
  }

  #days() {
    const { days, commits, refusals } = this.days;
    const sum = (list) => list.reduce((a, b) => a + b, 0);
    const told = `${words.count(sum(commits), 'commit or rollback', 'commits and rollbacks')} and ${words.count(sum(refusals), 'refusal')} in ${words.count(days.length, 'day')}${this.more ? ', as far as is read' : ''}`;
    return html`<div role="img" aria-label="Bars, one a day: ${told}"><count-plot .data=${this.days}></count-plot></div>
      <p class="dim">The foot of a bar: commits and rollbacks. Above it, in red: refusals. ${told}.</p>`;
  }

  #parameters() {
    const touched = new Set(this.entries.flatMap((entry) => (entry.changes ?? []).map((change) => words.placeId(change.key, change.context))));
    const known = (state.doctor?.parameters ?? []).filter((one) => one.owner === this.name || touched.has(words.placeId(one.key, one.context)));
    if (!known.length) return nothing;
    return html`<section aria-labelledby="its"><h2 id="its">Its parameters <span class="dim">${known.length}</span></h2>
      <div class="scroll" tabindex="0" role="region" aria-label="Its parameters"><table class="plain wide">
        <thead><tr><th scope="col">parameter</th><th scope="col" class="right">value</th><th scope="col">course</th><th scope="col" class="right">changes</th><th scope="col">last change</th><th scope="col">owner</th><th scope="col">notes</th></tr></thead>
        <tbody>${known.map((one) => this.#parameter(one))}</tbody>
      </table></div></section>`;
  }

  #parameter(one) {
    const id = words.placeId(one.key, one.context);
    const row = state.places.get(id);
    const points = state.sparks.get(id);
    return html`<tr data-row tabindex="-1">
      <th scope="row">${parameterLink(one.key, one.context)}</th>
      <td class="right">${valueCell(row?.value ?? one.value, typeOf(one.key))}</td>
      <td class="course">${points ? html`<param-spark aria-hidden="true" .points=${points} .bounds=${[row?.minimum, row?.maximum]}></param-spark>` : nothing}</td>
      <td class="right num" data-name="changes">${one.changes}</td>
      <td>${one.last_change ? words.ago(one.last_change) : html`<span class="dim">never</span>`}</td>
      <td>${one.owner === this.name ? html`<span class="dim">owns it</span>` : authorLink(one.owner)}</td>
      <td>${notes(one.notes)}</td>
    </tr>`;
  }

  #list() {
    const shown = this.entries.slice(-this.shown).reverse();
    return html`<section aria-labelledby="last">
      <h2 id="last">Last entries</h2>
      ${this.problem ? html`<p class="told bad">${this.problem.detail ?? String(this.problem)}</p>` : nothing}
      ${shown.length
        ? html`<table class="plain entries wide">
            <thead><tr><th scope="col" class="right">revision</th><th scope="col">time</th><th scope="col">kind</th><th scope="col">what</th><th scope="col">reason and evidence</th></tr></thead>
            <tbody>${shown.map((entry) => this.#entry(entry))}</tbody>
          </table>`
        : html`<p class="dim">None of the newest entries is of this name.</p>`}
      ${this.more || this.entries.length > shown.length ? html`<p><button ?disabled=${this.loading} @click=${() => this.#older()}>Older entries</button></p>` : nothing}
    </section>`;
  }

  #entry(entry) {
    const broken = entry.details?.violations ?? [];
    const evidence = evidenceText(entry.evidence);
    return html`<tr data-row tabindex="-1">
      <td class="right">${revisionLink(entry.revision)}</td>
      <td class="when">${words.time(entry.time)}</td>
      <td>${entry.kind === 'refusal' ? html`<span class="chip refused">refused</span>` : words.kind(entry)}</td>
      <td class="what">${entry.kind === 'refusal' ? broken.slice(0, NO_CHANGES).map((item) => html`<div>${refusalText(item)}</div>`) : this.#changes(entry)}</td>
      <td class="why">${entry.reason}${evidence ? html` <span class="dim">${evidence}</span>` : nothing}</td>
    </tr>`;
  }

  #changes(entry) {
    const changes = entry.changes ?? [];
    if (!changes.length) return words.summary(entry, typeOf);
    const more = changes.length - NO_CHANGES;
    return html`${changes.slice(0, NO_CHANGES).map((c) => html`<div>${parameterLink(c.key, c.context)} <span class=${valueClass(c.old, c.new)}>${words.change(c.old, c.new, typeOf(c.key))}</span> ${bound(c)}</div>`)}
      ${more > 0 ? html`<div class="dim">and ${more} more</div>` : nothing}`;
  }
}
