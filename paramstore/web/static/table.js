// Which rows of a long table are drawn: those in sight and some around them. All have the same height,
// so that what is above and below is two empty rows of the right height. Printing draws them all.

const AROUND = 12; // rows drawn beyond each edge
const SNAP = 8; // the window moves by so many rows at once: scrolling rarely draws
const PRINT = matchMedia('print');
const NARROW = matchMedia('(max-width: 44rem)');
const HEIGHT = 32; // px; style.css has the same two figures
const CARD = 76;

const rowHeight = () => (NARROW.matches ? CARD : HEIGHT);
export const printing = () => PRINT.matches || document.documentElement.hasAttribute('data-printing');

export class Rows {
  /** `rerender` draws the page soon. The table is the element with `id`. */
  constructor(id, rerender) {
    this.id = id;
    this.rerender = rerender;
    this.count = 0;
    this.active = -1; // the row that has, or had, the focus
    this.range = { start: 0, end: 0 };
    this.steps = () => true; // tells whether a row can be stepped to
    this.look = () => {
      const { start, end } = this.wanted();
      if (start !== this.range.start || end !== this.range.end) this.rerender();
    };
    addEventListener('scroll', this.look, { passive: true });
    addEventListener('resize', this.look, { passive: true });
    PRINT.addEventListener('change', this.rerender);
  }

  leave() {
    removeEventListener('scroll', this.look);
    removeEventListener('resize', this.look);
    PRINT.removeEventListener('change', this.rerender);
  }

  body() {
    return document.getElementById(this.id)?.tBodies[0];
  }

  /** Return the part of `count` rows to draw, and the heights (px) of what is left out. */
  window(count) {
    this.count = count;
    this.range = this.wanted();
    const { start, end } = this.range;
    return { start, end, above: start * rowHeight(), below: (count - end) * rowHeight() };
  }

  wanted() {
    if (printing()) return { start: 0, end: this.count };
    const top = this.body()?.getBoundingClientRect().top ?? 0;
    const first = Math.floor(Math.max(0, -top) / rowHeight());
    const seen = Math.ceil(innerHeight / rowHeight());
    const snapped = Math.floor(Math.max(0, first - AROUND) / SNAP) * SNAP;
    const start = Math.min(snapped, Math.max(0, this.count - seen));
    return { start, end: Math.min(this.count, snapped + seen + 2 * AROUND + SNAP) };
  }

  /** Keep the focus on the row that had it: drawn elements are used for other rows when the window moves. */
  drawn() {
    const focused = document.activeElement;
    if (!focused?.matches?.('[data-row][data-index]')) return;
    if (Number(focused.dataset.index) === this.active) return;
    const here = this.element(this.active);
    if (here) here.focus({ preventScroll: true });
    else focused.closest('table')?.focus({ preventScroll: true });
  }

  element(index) {
    return this.body()?.querySelector(`[data-row][data-index="${index}"]`);
  }

  took(event) {
    const row = event.target.closest?.('[data-row][data-index]');
    if (row) this.active = Number(row.dataset.index);
  }

  /** Go on by one row, and bring it into sight. */
  step(by) {
    const inside = document.activeElement?.closest?.(`#${this.id}`);
    let next = inside || this.active >= 0 ? this.active + by : this.firstInSight();
    while (next >= 0 && next < this.count && !this.steps(next)) next += by;
    if (next < 0 || next >= this.count) return this.count > 0;
    this.active = next;
    this.show(next);
    return true;
  }

  firstInSight() {
    const top = this.body()?.getBoundingClientRect().top ?? 0;
    return Math.max(0, Math.ceil(-top / rowHeight()));
  }

  show(index) {
    const box = this.body().getBoundingClientRect();
    const head = document.getElementById('header').offsetHeight + 2 * HEIGHT;
    const y = box.top + index * rowHeight();
    if (y < head) scrollBy(0, y - head);
    else if (y + rowHeight() > innerHeight) scrollBy(0, y + rowHeight() - innerHeight + 8);
    this.rerender();
    const focus = () => this.element(index)?.focus({ preventScroll: true });
    if (this.element(index)) focus();
    else requestAnimationFrame(() => requestAnimationFrame(focus)); // it is drawn in the next frame
  }
}
