// What a person can do from the page. Each action is shown before it is done, and what is done is exactly
// what was shown: the server refuses it where that has changed meanwhile.

import { html, nothing, render } from 'lit-html';
import * as api from 'app/api';
import { state } from 'app/state';
import { FORMS, authorAndReason } from 'app/act_forms';
import { conflictView, doneView, previewView, tokenField, troubleView } from 'app/act_views';

const AUTHOR = 'paramstore-author';
let context = null;

const remembered = () => {
  try {
    return localStorage.getItem(AUTHOR);
  } catch {
    return null;
  }
};

const remember = (author) => {
  try {
    localStorage.setItem(AUTHOR, author);
  } catch {
    // Then it is asked again.
  }
};

export const act = {
  start(given) {
    context = given;
  },

  get allowed() {
    return Boolean(state.health?.writes) && !api.embedded;
  },

  /** Show `template` only where something can be done. */
  offer: (template) => (act.allowed ? template : nothing),

  /** Say, where nothing can be done from here, how to switch it on. */
  note: () =>
    act.allowed || api.embedded || !state.health
      ? nothing
      : html`<p class="quiet-note">
          For looking only. To change values from this page, start it with
          <code>paramstore serve --allow-writes</code>.
        </p>`,

  /** Each opens a dialog, filled with what is given, and resolves to the answer, or null if nothing was done. */
  set: (given = {}) => open('set', given), // {key, context, value} or {changes: [{key, value}], context}
  rollback: (given = {}) => open('rollback', given), // {to, keys, by}
  freeze: (given = {}) => open('freeze', given), // {pattern, until}
  unfreeze: (given = {}) => open('unfreeze', given), // {pattern}
  approve: (given = {}) => open('approve', given), // {pattern}
};

function open(kind, given) {
  if (!act.allowed) return Promise.resolve(refuse());
  if (document.querySelector('dialog[open]')) return Promise.resolve(null);
  return new Action(kind, given).open();
}

function refuse() {
  const dialog = document.createElement('dialog');
  dialog.setAttribute('aria-label', 'Nothing can be changed here');
  const why = api.embedded
    ? html`<p>This is a report: it only shows.</p>`
    : html`<p>For looking only. Start the page with <code>paramstore serve --allow-writes</code>.</p>`;
  render(html`<form method="dialog">${why}<p class="buttons"><button>Close</button></p></form>`, dialog);
  show(dialog);
  return null;
}

function show(dialog) {
  dialog.addEventListener('close', () => dialog.remove());
  document.getElementById('dialogs').append(dialog);
  dialog.showModal();
}

// --- one action, from its form to its result -----------------------------------------------------------

class Action {
  constructor(kind, given) {
    this.form = FORMS[kind];
    this.kind = kind;
    this.fields = this.form.start(given);
    this.author = remembered() || state.health.author || '';
    this.reason = '';
    this.force = false;
    this.step = 'form'; // form, preview, conflict, done
    this.preview = null;
    this.unforced = []; // the rules that stood against it before it was forced
    this.before = null; // at a conflict: what the person had seen
    this.problem = null;
    this.asksToken = !api.token.get();
    this.busy = false;
    this.result = null;
    this.dialog = document.createElement('dialog');
    this.dialog.setAttribute('aria-labelledby', 'action-title');
    this.draw = this.draw.bind(this);
  }

  open() {
    const back = document.activeElement;
    return new Promise((resolve) => {
      this.dialog.addEventListener('close', () => {
        back?.isConnected && back.focus();
        resolve(this.result);
      });
      show(this.dialog);
      this.draw();
      this.focus();
      this.form.ready?.(this.fields, this.draw);
    });
  }

  focus() {
    const wanted = this.dialog.querySelector('[data-first]') ?? this.dialog.querySelector('input, select, textarea, button');
    wanted?.focus();
  }

  draw() {
    if (!this.dialog.isConnected) return;
    render(html`<h2 id="action-title">${this.form.title(this.fields)}</h2>${this.body()}`, this.dialog);
  }

  body() {
    if (this.step === 'done') return doneView(this.kind, this.result, () => this.dialog.close());
    const submit = (event) => {
      event.preventDefault();
      if (!this.busy) this.go();
    };
    return html`<form @submit=${submit} @input=${() => this.changed()}>
      ${this.step === 'form' ? this.formView() : this.judgeView()}
      ${this.asksToken ? tokenField() : nothing} ${this.problem ? troubleView(this.problem) : nothing}
      ${this.buttons()}
    </form>`;
  }

  formView() {
    return html`${this.form.view(this.fields, this.draw)}
    ${authorAndReason(this, (name, text) => {
      this[name] = text;
    })}`;
  }

  judgeView() {
    const turn = (force) => {
      this.force = force;
      this.ask();
    };
    return html`${this.step === 'conflict'
        ? conflictView(this.kind, this.before, this.preview)
        : previewView(this.kind, this.preview, this.force, this.form.forces ? turn : null, this.unforced, this.form.together ? (keys) => this.together(keys) : null)}
      <p class="dim">By ${this.author}: ${this.reason}</p>`;
  }

  buttons() {
    const judging = this.step !== 'form';
    const blocked = judging && (this.preview.detail || !(this.form.always || hasEffect(this.preview)));
    const word = !judging && !this.form.atOnce ? 'Show what it would do' : this.form.verb(this.fields);
    return html`<p class="buttons">
      <button class=${this.form.atOnce ? 'danger' : 'primary'} ?disabled=${this.busy || blocked}>${this.busy ? 'Wait…' : word}</button>
      ${judging ? html`<button type="button" @click=${() => this.back()}>Back</button>` : nothing}
      <button type="button" @click=${() => this.dialog.close()}>Cancel</button>
    </p>`;
  }

  changed() {
    if (this.problem) {
      this.problem = null;
      this.draw();
    }
  }

  back() {
    this.step = 'form';
    this.force = false; // decided anew each time
    this.problem = null;
    this.draw();
    this.focus();
  }

  /** Back to the form, with the others that a rule binds beside what was asked for. */
  async together(keys) {
    this.busy = true;
    this.draw();
    try {
      await this.form.together(this.fields, keys);
    } catch (problem) {
      this.problem = problem;
    }
    this.busy = false;
    if (!this.problem) this.back();
    this.draw();
  }

  // --- talking to the server ----------------------------------------------------------------------------

  go() {
    this.takeToken();
    remember(this.author);
    return this.step === 'form' && !this.form.atOnce ? this.ask() : this.do();
  }

  takeToken() {
    const given = this.dialog.querySelector('input[name=token]')?.value.trim();
    if (given) api.token.set(given);
  }

  /** Ask what it would do. */
  ask() {
    return this.send(true, (answer) => {
      this.preview = answer;
      if (!this.force) this.unforced = answer.violations ?? [];
      this.step = 'preview';
    });
  }

  /** Do what was shown. */
  do() {
    return this.send(false, (answer) => {
      this.result = answer;
      this.step = 'done';
    });
  }

  async send(dry, take) {
    this.busy = true;
    this.problem = null;
    this.draw();
    try {
      const seen = !dry && this.preview ? { seen: this.preview.seen } : {};
      const force = this.form.forces ? { force: this.force } : {};
      const said = { author: this.author, reason: this.reason, ...this.form.body(this.fields), ...force };
      take(await api.post(this.kind, { ...said, dry_run: dry, ...seen }));
      this.asksToken = false;
    } catch (problem) {
      this.failed(problem);
    }
    this.busy = false;
    this.draw();
    this.dialog.querySelector(this.step === 'done' ? 'button' : '.told.bad')?.focus();
  }

  failed(problem) {
    if (!(problem instanceof api.Problem)) console.error(problem);
    this.problem = problem;
    if (problem.status === 401) this.asksToken = true;
    if (problem.status === 409 && problem.body.preview) {
      this.before = this.preview;
      this.preview = problem.body.preview;
      this.step = 'conflict';
    }
  }
}

const hasEffect = (preview) =>
  ['changes', 'baselines', 'freezes', 'keys'].some((name) => preview[name]?.length);
