// What binds a parameter: each rule of its schema with what it comes to now.

import { html, nothing } from 'lit-html';
import { authorLink } from 'app/parts';
import { present } from 'app/state';
import { drawable, reach } from 'app/trace';
import * as words from 'app/words';

const TITLES = { 'wait between changes': `cooldown: ${words.MEANINGS.cooldown}`, 'largest drift': `drift: ${words.MEANINGS.drift}; baseline: ${words.MEANINGS.baseline}` };
const tidy = (number) => Number(number.toPrecision(12)); // 0.15 + 0.05 is 0.2 to people
const rough = (number) => `${Number((number * 100).toPrecision(2))} %`;
const share = (number) => `${tidy(number * 100)} %`;

/** The rules of `found` (an explanation) as a table. `line` is the trace of the value in question. */
export function rulesView(found, line, more) {
  const { spec } = found;
  const rows = [...always(spec), ...(spec.learnable ? learned(found, line, more) : [])];
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Rules"><table class="plain wide narrow-names">
      <thead><tr><th scope="col">rule</th><th scope="col">limit</th><th scope="col">now</th></tr></thead>
      <tbody>${rows.map(([name, limit, now]) => html`<tr><th scope="row" title=${TITLES[name] ?? nothing}>${name}</th><td>${limit}</td><td>${now || nothing}</td></tr>`)}</tbody>
    </table></div>
    ${spec.learnable ? nothing : html`<p>Not learnable: meant to be changed by people.</p>`}
    <p class="dim"><code>${spec.schema_file}</code></p>`;
}

function* always(spec) {
  const limits = words.bounds(spec);
  yield ['type', `${spec.type}${spec.unit ? ` (${spec.unit})` : ''}`];
  if (limits) yield [spec.choices ? 'choices' : 'bounds', limits];
  if (spec.default !== null && spec.default !== undefined) yield ['default', words.value(spec.default, spec.type)];
}

function* learned(found, line, more) {
  const { spec, value } = found;
  const stands = line.values.at(-1);
  const base = line.baselines.at(-1);
  yield ['owner', spec.owner ? authorLink(spec.owner) : 'any learner'];
  if (spec.max_step !== null) yield ['largest step', words.value(spec.max_step, spec.type), reached({ max_step: spec.max_step }, stands, spec)];
  if (spec.max_step_relative !== null) {
    yield ['largest relative step', share(drawable(spec.max_step_relative)), reached({ max_step_relative: spec.max_step_relative }, stands, spec)];
  }
  if (spec.cooldown_s !== null) yield ['wait between changes', long(spec.cooldown_s), cooldown(spec, line)];
  if (spec.max_drift !== null) yield ['largest drift', words.value(spec.max_drift, spec.type), drift(spec, stands, base, more)];
  if (spec.decimals !== null) yield ['decimals', words.value(spec.decimals)];
  if (spec.min_samples !== null) yield ['least samples', words.value(spec.min_samples), lastSamples(found.last_change)];
  if (spec.evidence?.length) yield ['evidence', spec.evidence.join(', ')];
  const far = reach(spec, stands ?? value, base?.value); // of what is written, whatever stands over it
  if (far) yield ['all of these', html`<strong>${words.value(tidy(far.low))} … ${words.value(tidy(far.high))}</strong>`, 'within reach of one commit'];
}

function reached(rule, stands, { minimum, maximum }) {
  const far = stands === null || stands === undefined ? null : reach({ ...rule, minimum, maximum }, stands);
  return far ? `from here ${words.value(tidy(far.low))} … ${words.value(tidy(far.high))}` : '';
}

const long = (s) => (Number(s) < 120 ? `${s} s` : `${words.value(s)} s (${words.span(Number(s))})`);

function cooldown(spec, line) {
  const last = line.marks.findLast((mark) => mark.sort === 'change' && 'old' in mark.change);
  const left = last ? last.time + Number(spec.cooldown_s) - present() / 1000 : 0;
  if (left <= 0) return 'free to change';
  return html`<strong>${words.span(left)} left</strong>, until ${words.time(last.time + Number(spec.cooldown_s))}`;
}

function drift(spec, stands, base, more) {
  if (!base) return more ? 'its baseline is older than what is read here' : 'no baseline is recorded yet';
  const [at, from] = [drawable(stands), drawable(base.value)];
  if (at === null || from === null) return '';
  const away = Math.abs(at - from);
  return `${words.value(tidy(away))} away from the baseline ${words.value(base.value, spec.type)}: ${rough(away / drawable(spec.max_drift))} of what is allowed`;
}

function lastSamples(entry) {
  const samples = entry?.evidence?.samples;
  return samples === undefined ? '' : `the last change had ${words.value(samples)}`;
}
