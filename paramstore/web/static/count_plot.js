// <count-plot>: how many commits and refusals there were each day.
//
// `.data = { days: [seconds], commits: [n], refusals: [n] }`, a day for each, those with none among them.

import uPlot from 'uplot';
import { Chart } from 'app/chart';
import { TIME_AXIS } from 'app/plot_scale';

const DAY_S = 86400;

class CountPlot extends Chart {
  series() {
    const { days, commits, refusals } = this.data;
    return [days, commits.map((count, index) => count + refusals[index]), commits];
  }

  options() {
    const bars = uPlot.paths.bars({ size: [0.75, 24], align: 0 });
    const { days } = this.data;
    return {
      padding: [8, 8, 0, 0],
      cursor: { show: false },
      scales: {
        x: { time: true, range: () => [days[0] - DAY_S / 2, days.at(-1) + DAY_S / 2] },
        y: { range: (u, low, high) => [0, Math.max(high ?? 1, 1) * 1.08] },
      },
      axes: [
        { ...this.axis(), grid: { show: false }, values: TIME_AXIS, space: 64, incrs: [1, 2, 7, 14, 28, 91, 365].map((n) => n * DAY_S) },
        { ...this.axis(), size: 44, space: 28, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 1e4, 1e5, 1e6] },
      ],
      series: [
        {},
        { fill: () => this.colours.bad, width: 0, paths: bars, points: { show: false } },
        { fill: () => this.colours.line, width: 0, paths: bars, points: { show: false } },
      ],
    };
  }
}

customElements.define('count-plot', CountPlot);

/** Count what each of `entries` is by the days of this place's clock; at most the last `most` days. */
export function perDay(entries, now, most = 92) {
  const day = (time) => new Date(time).setHours(0, 0, 0, 0);
  const times = entries.map((entry) => day(entry.time)).filter((time) => !Number.isNaN(time));
  if (!times.length) return null;
  const days = [];
  const first = new Date(times.reduce((a, b) => Math.min(a, b)));
  const date = new Date(day(now));
  while (days.length < most && (date >= first || days.length < 7)) {
    days.unshift(date.getTime());
    date.setDate(date.getDate() - 1); // not 24 h: some days are longer
  }
  const at = new Map(days.map((time, index) => [time, index]));
  const counts = { commits: days.map(() => 0), refusals: days.map(() => 0) };
  for (const entry of entries) {
    const index = at.get(day(entry.time));
    if (index === undefined) continue;
    if (entry.kind === 'refusal') counts.refusals[index] += 1;
    else counts.commits[index] += 1;
  }
  return { days: days.map((time) => time / 1000), ...counts };
}
