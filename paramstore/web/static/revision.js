// One revision: who changed what and why, what was asked for and which rule bound it, and the way back.

import { html, nothing } from 'lit-html';
import { differencesTable, namespacesText, rulesTable } from 'app/differences';
import { evidence, refusals, ruleText } from 'app/facts';
import { authorLink, empty, parameterLink, revisionLink, valueCell } from 'app/parts';
import { typeOf } from 'app/state';
import { drawable } from 'app/trace';
import { placeId, same } from 'app/words';

const CHANGING = ['commit', 'external', 'rollback'];
const VERDICTS = { better: 'better', worse: 'worse', 'cannot tell': 'unsure' };
const MOST = 500; // entries among which causes and cures are looked for
const FEW = 8; // revisions that are named, and rollbacks that are looked into

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
    this.made = this.found.entries.find((entry) => CHANGING.includes(entry.kind));
    // What came of it and what it came from is told when it is known: the page does not wait for it.
    if (this.made) Promise.allSettled([this.#judge(), this.#undone(), this.#undid()]).then(() => this.context.rerender());
  }

  async #judge() {
    const { api, health } = this.context;
    if (!health?.scorecard) return;
    const card = await api.get(api.path(['scorecard'], { revision: this.number }));
    this.judged = card.changes?.find((one) => String(one.revision) === this.number);
  }

  /** Find the rollbacks that went back past this revision. */
  async #undone() {
    const { api } = this.context;
    const mine = new Set(this.made.changes.map(placeOf));
    const later = (await api.get(api.path(['history'], { kind: 'rollback', limit: MOST }))).entries.filter(
      (entry) => entry.kind === 'rollback' && entry.revision > this.made.revision && entry.changes.some((change) => mine.has(placeOf(change))),
    );
    const ways = await Promise.all(later.slice(0, FEW).map((entry) => this.#way(entry)));
    this.undone = later.slice(0, FEW).filter((_, at) => ways[at].passed.some((entry) => entry.revision === this.made.revision));
  }

  async #undid() {
    if (this.made.kind === 'rollback') this.way = await this.#way(this.made);
  }

  async #way(rollback) {
    const { api } = this.context;
    const query = { before: rollback.id, limit: MOST, pattern: shared(rollback.changes) };
    const past = (await api.get(api.path(['history'], query))).entries;
    return wayBack(rollback, past.filter((entry) => entry.revision < rollback.revision && CHANGING.includes(entry.kind)).reverse());
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
        ${this.#fate()}
      </div>
      ${act.offer(html`<div class="buttons">
        ${revision < this.newest ? html`<button @click=${() => act.rollback({ to: revision })}>Roll back to here…</button>` : nothing}
        ${revision > 0 ? html`<button @click=${() => act.rollback(this.#before())}>Roll back to before this…</button>` : nothing}
      </div>`)}
    </header>`;
  }

  /** Take back what this author did since, of this parameter alone where it is one; the dialog says how far it reaches. */
  #before() {
    const keys = new Set(this.made?.changes.map((change) => change.key));
    return { to: this.found.revision - 1, by: this.made?.author ?? '', keys: keys.size === 1 ? [...keys][0] : '' };
  }

  /** What came of it: its verdict, who took it back, and of a rollback what it took back. */
  #fate() {
    const { words } = this.context;
    return html`${this.judged
        ? html`<p class="verdict"><span class=${VERDICTS[this.judged.verdict] ?? ''}>${this.judged.verdict}</span> <span class="dim">${this.judged.why}</span> <a href="#/scorecard">scorecard</a></p>`
        : nothing}
      ${(this.undone ?? []).map((entry) => html`<p class="fate">Taken back by ${authorLink(entry.author)} in revision ${revisionLink(entry.revision)}${entry.reason ? html`: <q>${entry.reason}</q>` : nothing}</p>`)}
      ${this.way?.passed.length
        ? html`<p class="fate">${this.way.to === null ? 'It took back' : html`It brought back what stood at revision ${revisionLink(this.way.to)}, and so took back`} what these had set:</p>
          <ul class="fate">${byAuthor(this.way.passed).map(([name, numbers]) => html`<li>${authorLink(name)} in ${numbers.length === 1 ? 'revision' : 'revisions'} ${numbers.slice(0, FEW).map((n, at) => html`${at ? ', ' : nothing}${revisionLink(n)}`)}${numbers.length > FEW ? ` and ${numbers.length - FEW} more` : nothing}</li>`)}</ul>`
        : nothing}`;
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
      <p class="dim">id of this entry in the journal: ${entry.id}</p>
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

const placeOf = (change) => placeId(change.key, change.context);

/** Undo `past` (newest first) in thought until all that a rollback wrote stands as it wrote it: which entries it went back past (oldest
 * first), and to which revision; null where that cannot be told, as when it took back one author's changes alone. */
function wayBack(rollback, past) {
  const aims = new Map(rollback.changes.map((change) => [placeOf(change), change.new]));
  const values = new Map(rollback.changes.map((change) => [placeOf(change), change.old]));
  const lasts = new Map(); // by place: who had set what was taken away
  const passed = [];
  for (const entry of past) {
    const touched = entry.changes.filter((change) => aims.has(placeOf(change)) && !same(change.old, change.new));
    if (!touched.length) continue;
    passed.unshift(entry);
    for (const change of touched) {
      if (!lasts.has(placeOf(change))) lasts.set(placeOf(change), entry);
      values.set(placeOf(change), change.old);
    }
    if ([...aims].every(([place, aim]) => same(aim, values.get(place)))) return { to: entry.revision - 1, passed };
  }
  return { to: null, passed: [...new Set(lasts.values())].reverse() };
}

function byAuthor(entries) {
  const found = new Map();
  for (const { author, revision } of entries) found.set(author, [...(found.get(author) ?? []), revision]);
  return [...found];
}

/** A pattern for all keys of these changes, where they are one or one group. */
function shared(changes) {
  const keys = [...new Set(changes.map((change) => change.key))];
  const groups = new Set(keys.map((key) => key.slice(0, key.lastIndexOf('.'))));
  if (keys.length === 1) return keys[0];
  return groups.size === 1 ? `${[...groups][0]}.*` : undefined;
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
