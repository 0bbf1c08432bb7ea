// What happened last, and whose learning needs a look: the first thing to see.

import { html, nothing } from 'lit-html';
import * as api from 'app/api';
import * as words from 'app/words';
import { kind, what } from 'app/entry';
import { authorLink, learnerHref, revisionHref } from 'app/parts';
import { state } from 'app/state';

const SHOWN = 5;

/** The newest entries, moved on by each that comes: `{event, view}`. */
export async function lately() {
  const found = await api.get(api.path(['history'], { limit: SHOWN }));
  let entries = found.entries.filter((entry) => entry.kind !== 'refusal').reverse().slice(0, SHOWN);
  return {
    event(entry) {
      if (entry.kind === 'refusal' || entries.some((known) => known.id === entry.id)) return;
      entries = [entry, ...entries].slice(0, SHOWN);
    },
    view: () => (entries.length ? view(entries) : nothing),
  };
}

const view = (entries) =>
  html`<section class="lately" aria-labelledby="lately">
    <div class="lately-title">
      <h2 id="lately">Lately</h2>
      <a href="#/history">all entries</a>
      ${learners()}
    </div>
    <table class="plain entries">
      <caption class="hidden">The newest entries</caption>
      <tbody>
        ${entries.map(line)}
      </tbody>
    </table>
  </section>`;

const line = (entry) =>
  html`<tr>
    <th scope="row" class="right"><a class="num" href=${revisionHref(entry.revision)}>${entry.revision}</a></th>
    <td class="when">${words.ago(entry.time)}</td>
    <td class="brief">${kind(entry)}</td>
    <td class="brief">${authorLink(entry.author)}</td>
    <td class="what">${what(entry, 1)}</td>
    <td class="why"><div class="clamp">${entry.reason}</div></td>
  </tr>`;

/** Learners of which the doctor has something to say, each with its first finding. */
function learners() {
  const findings = (state.doctor?.learners ?? []).flatMap(({ learner, notes }) => {
    const first = notes.find((note) => note.level === 'finding');
    return first ? [{ learner, first }] : [];
  });
  if (!findings.length) return nothing;
  return html`<ul class="learners-told">
    ${findings.map(
      ({ learner, first }) =>
        html`<li><span class="chip finding"><span aria-hidden="true">▲ </span><a href=${learnerHref(learner)}>${learner}</a>: ${first.text}</span></li>`,
    )}
  </ul>`;
}
