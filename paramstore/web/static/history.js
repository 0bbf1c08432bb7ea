// Every entry of the journal, the newest first.

import { html, nothing } from 'lit-html';
import * as api from 'app/api';
import * as words from 'app/words';
import { state, typeOf } from 'app/state';
import { kind, readAuthors, what } from 'app/entry';
import { authorLink, empty, parameterLink, revisionHref } from 'app/parts';

const AT_ONCE = 100;
const MOST = 1000; // that are kept while the page stays open, unless a person has asked for more
const NAMES = ['pattern', 'author', 'kind', 'refused'];

export async function page(route, context) {
  let filters = Object.fromEntries(NAMES.map((name) => [name, route.query.get(name) ?? '']));
  let entries = []; // newest first
  let pending = [];
  let more = false;
  let busy = false;
  let most = MOST;
  let problem = null;

  let questions = 0;
  const made = { authors: new Set(), kinds: new Set() }; // of the whole journal
  for (const one of await readAuthors(api)) meet(one.author, Object.keys(one.kinds));

  function meet(author, kinds) {
    if (author) made.authors.add(author);
    for (const one of kinds) made.kinds.add(one);
  }

  const asked = (before) =>
    api.path(['history'], { ...filters, limit: AT_ONCE, before, refused: filters.refused === '1' ? 1 : 0 });

  async function read() {
    const mine = (questions += 1);
    const found = await api.get(asked());
    if (mine !== questions) return; // another choice has been made since
    [entries, pending, more] = [[...found.entries].reverse(), found.pending ?? [], found.more];
  }

  async function older() {
    busy = true;
    context.rerender();
    const mine = questions;
    try {
      const found = await api.get(asked(entries.at(-1)?.id));
      if (mine === questions) entries = [...entries, ...[...found.entries].reverse()];
      most = Math.max(MOST, entries.length);
      if (mine === questions) [more, problem] = [found.more, null];
    } catch (error) {
      problem = error;
    }
    busy = false;
    context.rerender();
  }

  /** Filter: the server does, since it knows the whole journal; in a report the page does, of what that holds. */
  async function choose(changed) {
    filters = { ...filters, ...changed };
    const query = new URLSearchParams(Object.entries(filters).filter(([, v]) => v)).toString();
    context.navigate(`#/history${query ? `?${query}` : ''}`, { replace: true });
    if (context.embedded) return context.rerender();
    try {
      await read();
      problem = null;
    } catch (error) {
      problem = error;
    }
    context.rerender();
  }

  const fits = (entry) =>
    (!filters.author || entry.author === filters.author) &&
    (!filters.kind || entry.kind === filters.kind) &&
    (filters.refused === '1' || filters.kind === 'refusal' || entry.kind !== 'refusal');

  await read();
  return {
    title: 'History',
    event(entry) {
      meet(entry.author, [entry.kind]);
      if (!fits(entry)) return;
      if (filters.pattern && !concerns(entry, filters.pattern)) return;
      if (!entries.some((known) => known.id === entry.id)) entries = [entry, ...entries];
      if (entries.length > most) [entries, more] = [entries.slice(0, most), true];
      if (entry.kind === 'external') pending = [];
    },
    view() {
      const shown = entries.filter(
        (entry) =>
          fits(entry) &&
          // In a report there is no server to choose; there the page does.
          (!context.embedded || !filters.pattern || concerns(entry, filters.pattern)),
      );
      return html`
        <div class="title">
          <h1>History</h1>
          ${context.act.offer(html`<button @click=${() => context.act.rollback()}>Roll back…</button>`)}
        </div>
        ${tools(filters, made, shown, more && !context.embedded, choose)}
        ${problem ? html`<p class="told bad" role="alert">${problem.detail ?? String(problem)}</p>` : nothing}
        ${pending.length ? unrecorded(pending) : nothing}
        ${shown.length ? table(shown) : nothingShown(filters)}
        ${more && context.embedded ? html`<p class="dim">The report holds no older entries.</p>` : nothing}
        ${more && !context.embedded ? html`<p class="buttons"><button @click=${older} ?disabled=${busy}>${busy ? 'Reading…' : 'Older entries'}</button></p>` : nothing}
      `;
    },
  };
}

function concerns(entry, pattern) {
  const keys = entry.changes.map((change) => change.key);
  for (const item of entry.details?.violations ?? []) keys.push(item.key);
  if (entry.details?.pattern) return true; // whether two patterns meet is for the server to say
  return keys.some((key) => key === pattern || key.startsWith(`${pattern}.`) || words.matches(key, pattern));
}

function nothingShown(filters) {
  return state.health?.revision || Object.values(filters).some(Boolean)
    ? empty('No entry is like that.')
    : empty('The journal is empty: nothing has been changed yet.', html`<p class="dim">The first change of a learner or a person appears here at once.</p>`);
}

function tools(filters, made, shown, more, choose) {
  const authors = [...made.authors].sort();
  const kinds = [...made.kinds].sort();
  const option = (value, word, chosen) => html`<option value=${value} .selected=${value === chosen}>${word}</option>`;
  const submit = (event) => {
    event.preventDefault();
    choose({ pattern: new FormData(event.target).get('pattern').trim() });
  };
  return html`<search class="tools" aria-label="Filters">
    <form class="find" @submit=${submit}>
      <label><span class="hidden">Key, namespace or pattern</span>
        <input type="search" name="pattern" placeholder="Key, namespace or pattern; then Enter" .value=${filters.pattern} autocomplete="off" spellcheck="false" />
      </label>
    </form>
    <label><span class="hidden">author</span>
      <select @change=${(event) => choose({ author: event.target.value })}>
        ${option('', 'all authors', filters.author)} ${authors.map((name) => option(name, name, filters.author))}
      </select>
    </label>
    <label><span class="hidden">kind</span>
      <select @change=${(event) => choose({ kind: event.target.value })}>
        ${option('', 'all kinds', filters.kind)} ${kinds.map((kind) => option(kind, words.kinds[kind] ?? kind, filters.kind))}
      </select>
    </label>
    <label class="toggle"
      ><input type="checkbox" .checked=${filters.refused === '1'} @change=${(event) => choose({ refused: event.target.checked ? '1' : '' })} />with refusals</label
    >
    <p class="counts" role="status">${more ? 'the newest ' : ''}${words.count(shown.length, 'entry', 'entries')}${more ? '; there are older ones' : ''}</p>
  </search>`;
}

const unrecorded = (pending) =>
  html`<section class="told warn">
    <strong>Edited by hand, not yet recorded</strong>
    <ul>
      ${pending.map((c) => html`<li>${parameterLink(c.key, c.context)} ${words.change(c.old, c.new, typeOf(c.key))}</li>`)}
    </ul>
  </section>`;

const table = (shown) =>
  html`<table class="plain entries">
    <caption class="hidden">Entries, newest first</caption>
    <thead>
      <tr>
        <th scope="col" class="right">revision</th>
        <th scope="col">time</th>
        <th scope="col">kind</th>
        <th scope="col">author</th>
        <th scope="col">what</th>
        <th scope="col">why</th>
      </tr>
    </thead>
    <tbody>
      ${shown.map(line)}
    </tbody>
  </table>`;

const line = (entry) =>
  html`<tr>
    <th scope="row" class="right"><a data-row class="num" href=${revisionHref(entry.revision)}>${entry.revision}</a></th>
    <td class="when">${words.time(entry.time)} <span class="dim">${words.agoText(entry.time)}</span></td>
    <td class="brief">${kind(entry)}</td>
    <td class="brief">${authorLink(entry.author)}</td>
    <td class="what">${what(entry)}</td>
    <td class="why"><div class="pre clamp">${entry.reason}</div></td>
  </tr>`;
