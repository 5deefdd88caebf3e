// Small charts of the last five minutes.

const CHART_SECONDS = 300;
// Samples that are further apart are not joined: the page was hidden, or the server away.
const GAP_SECONDS = 5;
const CHART_HEIGHT = 100;

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function makeSvg(tag, attributes) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Changes nothing where nothing has changed. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The end of an axis. */
function roundUp(value) {
  if (value <= 1) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((n) => n * unit >= value) * unit;
}

class Chart {
  /** series: one or two of {label, rate: rates of a moment -> number or null} */
  constructor(title, unit, series) {
    this.title = title;
    this.unit = unit;
    this.series = series;
    this.root = make('figure', 'chart');
    this.now = make('strong', '', UNKNOWN);
    this.max = make('span', 'max');
    const caption = make('figcaption');
    const now = make('p', 'now');
    now.append(this.now, make('span', 'muted', unit));
    caption.append(make('h3', '', title), now);
    this.root.append(caption, this.makePlot(), this.makeAxis(), this.makeKey());
  }

  makePlot() {
    const plot = make('div', 'plot');
    this.svg = makeSvg('svg', {
      viewBox: `0 0 ${CHART_SECONDS} ${CHART_HEIGHT}`, preserveAspectRatio: 'none', role: 'img',
    });
    const half = CHART_HEIGHT / 2;
    this.svg.append(makeSvg('path', { class: 'grid', d: `M0,${half}H${CHART_SECONDS}M0,0H${CHART_SECONDS}` }));
    this.area = makeSvg('path', { class: 'area' });
    this.lines = this.series.map((_, i) => makeSvg('path', { class: i === 0 ? 'first' : 'second' }));
    this.svg.append(this.area, ...this.lines);
    plot.append(this.max, this.svg);
    return plot;
  }

  makeAxis() {
    const axis = make('div', 'axis');
    axis.append(make('span', '', '5 min ago'), make('span', '', 'now'));
    return axis;
  }

  makeKey() {
    const key = make('ul', 'key');
    this.values = this.series.map(() => make('span', '', UNKNOWN));
    this.series.forEach(({ label }, i) => {
      const item = make('li');
      item.append(make('i', i === 0 ? 'line' : 'line second'), make('span', '', label), this.values[i]);
      key.append(item);
    });
    key.hidden = this.series.length === 1;
    return key;
  }

  /** moments: [{at (ms), rates}], in order; now: ms. */
  draw(moments, now) {
    const shownMoments = moments.filter(({ at }) => now - at <= CHART_SECONDS * 1000);
    const columns = this.series.map(({ rate }) => shownMoments.map(({ rates }) => rate(rates)));
    const most = Math.max(0, ...columns.flat().filter(isKnown));
    const top = roundUp(most);
    const times = shownMoments.map(({ at }) => CHART_SECONDS - (now - at) / 1000);
    this.lines.forEach((line, i) => line.setAttribute('d', this.path(times, columns[i], top, false)));
    this.area.setAttribute('d', this.path(times, columns[0], top, true));
    const last = columns.map((column) => column.at(-1) ?? null);
    const sum = last.some(isKnown) && this.series.length > 1 && this.isSum()
      ? last.reduce((a, b) => (a ?? 0) + (b ?? 0), 0) : last[0];
    setText(this.now, rateText(sum));
    setText(this.max, `${top < 2 ? top : countText(top)} ${this.unit}`);
    this.values.forEach((value, i) => setText(value, rateText(last[i])));
    this.svg.setAttribute('aria-label', `${this.title}, ${this.unit}, over five minutes. ` +
      `${this.series.map(({ label }, i) => `${label}: now ${rateText(last[i])}`).join(', ')}, ` +
      `highest ${rateText(shownMoments.length > 0 ? most : null)}.`);
  }

  isSum() {
    return this.series.every(({ isPart }) => isPart);
  }

  path(times, values, top, isArea) {
    const y = (value) => (CHART_HEIGHT * (1 - value / top)).toFixed(2);
    let path = '';
    let run = [];
    const end = () => {
      if (run.length > 0) {
        const points = run.map(([x, value]) => `${x.toFixed(2)},${y(value)}`);
        const [first, last] = [run[0][0].toFixed(2), run.at(-1)[0].toFixed(2)];
        path += isArea ? `M${first},${y(0)}L${points.join('L')}L${last},${y(0)}Z` : `M${points.join('L')}`;
      }
      run = [];
    };
    values.forEach((value, i) => {
      if (!isKnown(value) || (run.length > 0 && times[i] - run.at(-1)[0] > GAP_SECONDS)) end();
      if (isKnown(value)) run.push([times[i], value]);
    });
    end();
    return path;
  }
}
