// One revision: who changed what and why, what was asked for and which rule bound it, and the way back.

import { html, nothing } from 'lit-html';
import { differencesTable, namespacesText, rulesTable } from 'app/differences';
import { evidence, refusals, ruleText } from 'app/facts';
import { authorLink, empty, parameterLink, revisionLink, valueCell } from 'app/parts';
import { typeOf } from 'app/state';
import { drawable } from 'app/trace';

export async function page(route, context) {
  const { api } = context;
  if (!/^\d{1,19}$/.test(route.arg)) {
    throw new api.Problem(404, { detail: `There is no revision ${route.arg}: a revision is a number.` });
  }
  const mine = new Revision(route.arg, context);
  await mine.read();
  return mine;
}

class Revision {
  constructor(number, context) {
    this.number = number;
    this.context = context;
    this.title = `Revision ${number}`;
    this.all = false;
  }

  async read() {
    const { api } = this.context;
    this.found = await api.get(api.path(['revisions', this.number]));
  }

  get newest() {
    return Math.max(this.found.newest, this.context.health?.revision ?? 0);
  }

  /** A refusal or a freeze may join the newest revision while it is shown. */
  event(entry) {
    if (String(entry.revision) !== this.number) return;
    this.read().then(() => this.context.rerender(), () => {});
  }

  view() {
    const { entries, comparison } = this.found;
    return html`<article>
      ${this.#head()}
      ${comparison
        ? html`<section aria-labelledby="changed">
            <h2 id="changed">What changed ${comparison.changes.length ? html`<span class="dim">${comparison.changes.length}</span>` : nothing}</h2>
            ${namespacesText(comparison.namespaces)}
            ${comparison.changes.length ? differencesTable(comparison.changes, this, { makers: false }) : html`<p>No value differs from the revision before.</p>`}
            ${rulesTable(comparison.rules)}
          </section>`
        : html`<p>The journal begins here: this revision lists what stood then.</p>`}
      ${entries.map((entry) => this.#entry(entry))}
      ${entries.length ? nothing : empty('No entry of the journal bears this revision.')}
    </article>`;
  }

  #head() {
    const { act, words } = this.context;
    const { revision } = this.found;
    const first = this.found.entries[0];
    return html`<header class="head">
      <div>
        <h1>Revision ${revision}</h1>
        <p class="steps">
          ${revision > 0 ? html`<a href="#/revision/${revision - 1}" rel="prev">← revision ${revision - 1}</a>` : nothing}
          ${revision < this.newest ? html`<a href="#/revision/${revision + 1}" rel="next">revision ${revision + 1} →</a>` : html`<span class="dim">the newest</span>`}
          ${revision < this.newest ? html`<a href="#/compare?a=${revision}&b=${this.newest}">what changed since</a>` : nothing}
        </p>
        ${first ? html`<p>${words.time(first.time)} <span class="dim">(${words.ago(first.time)})</span></p>` : nothing}
      </div>
      ${act.offer(html`<div class="buttons">
        ${revision < this.newest ? html`<button @click=${() => act.rollback({ to: revision })}>Roll back to here…</button>` : nothing}
        ${revision > 0 ? html`<button @click=${() => act.rollback({ to: revision - 1 })}>Roll back to before this…</button>` : nothing}
      </div>`)}
    </header>`;
  }

  #entry(entry) {
    const { words } = this.context;
    const details = entry.details ?? {};
    return html`<section class="entry">
      <h2>${words.kind(entry)} by ${authorLink(entry.author)} <span class="dim">${words.time(entry.time)}</span></h2>
      ${entry.reason ? html`<p class="reason pre">${entry.reason}</p>` : html`<p class="dim">No reason was given.</p>`}
      ${this.#told(entry, details)}
      <div class="columns">
        ${Object.keys(entry.evidence ?? {}).length ? html`<section><h3>Evidence</h3>${evidence(entry.evidence)}</section>` : nothing}
        ${this.#forced(entry.changes ?? [], details)}
      </div>
      ${this.#projected(entry.changes ?? [])}
      <p class="dim">entry ${entry.id}</p>
    </section>`;
  }

  #told(entry, details) {
    const { words } = this.context;
    if (entry.kind === 'refusal') return html`<p>Refused; nothing was written.</p>${refusals(details.violations)}`;
    if (entry.kind === 'merge') return html`<p>${words.count((details.joined ?? []).length, 'entry', 'entries')} of another history joined this one.</p>`;
    if (details.merged) return html`<p>A join in git left these values.</p>`;
    if (entry.kind === 'approve') return baselines(details.baselines ?? [], details.pattern);
    if (!details.pattern) return nothing;
    return html`<p><code>${details.pattern}</code>${details.until ? html` until ${words.time(details.until)}` : nothing}</p>`;
  }

  /** What was asked for and not granted as it was, with the sums that a rule over several parameters keeps. */
  #projected(changes) {
    const held = changes.filter((change) => change.bound_by);
    if (!held.length) return nothing;
    return html`<section>
      <h3>Asked for, and what was applied</h3>
      <div class="scroll" tabindex="0" role="region" aria-label="Asked for and applied"><table class="plain fit">
        <thead><tr><th scope="col">parameter</th><th scope="col" class="right">stood</th><th scope="col" class="right">asked for</th><th scope="col" class="right">applied</th><th scope="col">bound by</th></tr></thead>
        <tbody>
          ${held.map((c) => html`<tr>
            <th scope="row">${parameterLink(c.key, c.context)}</th>
            <td class="right">${valueCell(c.old, typeOf(c.key), 'not set')}</td>
            <td class="right">${valueCell(c.requested, typeOf(c.key))}</td>
            <td class="right"><strong>${valueCell(c.new, typeOf(c.key), 'removed')}</strong></td>
            <td>${ruleText(c.bound_by)}</td>
          </tr>`)}
          ${sums(changes).map((sum) => html`<tr class="passive">
            <th scope="row">sum of the ${sum.count} in <code>${sum.group}</code></th>
            <td class="right num">${sum.old}</td><td class="right num">${sum.requested}</td><td class="right num">${sum.applied}</td><td></td>
          </tr>`)}
        </tbody>
      </table></div>
    </section>`;
  }

  #forced(changes, details) {
    const passed = changes.filter((change) => change.overrode?.length);
    if (!passed.length && !details.forced) return nothing;
    return html`<section>
      <h3>Forced by a person</h3>
      ${passed.length
        ? html`<ul>${passed.map((c) => html`<li>${parameterLink(c.key, c.context)} past ${c.overrode.map(ruleText).join(', ')}</li>`)}</ul>`
        : html`<p>No limit stood in the way.</p>`}
    </section>`;
  }
}

function baselines(items, pattern) {
  if (!items.length) return html`<p>The values of <code>${pattern}</code> were the baselines already.</p>`;
  return html`<p>From here on these are the values of <code>${pattern}</code> that drift is measured from:</p>
    <table class="plain facts"><tbody>
      ${items.map((item) => html`<tr><th scope="row">${parameterLink(item.key, item.context)}</th><td>${valueCell(item.value, typeOf(item.key))}</td></tr>`)}
    </tbody></table>`;
}

const SAME_GROUP = (change) => `${change.key.slice(0, change.key.lastIndexOf('.'))} ${JSON.stringify(change.context ?? {})}`;

/** Sums over the numbers of each group that moved together: what a rule such as "sum to 1" is about. */
function sums(changes) {
  const groups = new Map();
  for (const change of changes) {
    const [old, now] = [drawable(change.old), drawable(change.new)];
    const asked = change.bound_by ? drawable(change.requested) : now;
    if (old === null || now === null || asked === null) continue;
    const name = SAME_GROUP(change);
    const sum = groups.get(name) ?? { group: change.key.slice(0, change.key.lastIndexOf('.')), count: 0, old: 0, requested: 0, applied: 0 };
    sum.count += 1;
    sum.old += old;
    sum.requested += asked;
    sum.applied += now;
    groups.set(name, sum);
  }
  const tidy = (number) => String(Number(number.toPrecision(12)));
  return [...groups.values()]
    .filter((sum) => sum.count > 1)
    .map((sum) => ({ ...sum, old: tidy(sum.old), requested: tidy(sum.requested), applied: tidy(sum.applied) }));
}
