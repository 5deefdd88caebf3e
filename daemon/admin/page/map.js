// The residency map: a cell for each region of the file.

const LARGEST_CELL = 18;
const SMALLEST_CELL = 7;
const MAX_COLUMNS = 64;
const PARTS = 16;

// Where the numbers come from, as /residency calls it.
const SOURCES = {
  mincore: 'all that is in the page cache',
  pagemap: 'only what the workers have touched',
  copy: 'a copy in memory is served',
  unknown: 'unknown',
};
const NOT_YET = 'What of the file is in memory is being found out.';
const WHY_UNKNOWN = 'The kernel does not tell what of the file is in memory: it tells only the ' +
  'owner of a file, or who may write to it.';

/** '#rrggbb' -> [r, g, b] */
function rgbOf(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/** A colour of the scale. It gets steadily darker (in the dark: brighter), so it needs no hues. */
function mapColour(scale, fraction) {
  if (fraction <= 0) return scale[0];
  const at = Math.min(1, fraction) * (scale.length - 2);
  const step = Math.min(Math.floor(at), scale.length - 3);
  const [from, to] = [rgbOf(scale[step + 1]), rgbOf(scale[step + 2])];
  return `rgb(${from.map((a, i) => Math.round(a + (to[i] - a) * (at - step))).join(', ')})`;
}

/** How many pages region i has: the last one may be shorter. */
function pagesOfRegion(generation, pageBytes, i) {
  const pages = Math.ceil(generation.size_bytes / pageBytes);
  const each = generation.region_bytes / pageBytes;
  return Math.max(1, Math.min(each, pages - i * each));
}

/** What region i, or n regions from i on, are: where they begin and end, and what is in memory. */
function partOf(generation, pageBytes, i, n = 1) {
  const end = Math.min(i + n, regionCount(generation));
  const part = { from: i * generation.region_bytes, pages: 0, resident: null };
  part.to = Math.min(end * generation.region_bytes, generation.size_bytes);
  for (let at = i; at < end; at++) {
    part.pages += pagesOfRegion(generation, pageBytes, at);
    if (isKnown(generation.regions?.[at])) part.resident = (part.resident ?? 0) + generation.regions[at];
  }
  part.fraction = part.resident === null ? null : part.resident / part.pages;
  return part;
}

function regionCount(generation) {
  if (generation.regions) return generation.regions.length;
  if (!(generation.region_bytes > 0)) return 1;
  return Math.max(1, Math.min(1024, Math.ceil(generation.size_bytes / generation.region_bytes)));
}

class ResidencyMap {
  /** live: the element whose text is read out when the keyboard has moved the selection. */
  constructor(live) {
    this.live = live;
    this.selected = null;
    this.root = make('figure', 'map');
    this.canvas = make('canvas');
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute('role', 'img');
    this.title = make('h3');
    this.source = make('span', 'muted');
    this.readout = make('p', 'readout');
    this.why = make('p', 'why muted');
    const caption = make('figcaption');
    caption.append(this.title, this.source);
    this.root.append(caption, this.canvas, this.makeUnder(), this.why, this.makeTable());
    this.canvas.addEventListener('keydown', (event) => this.onKey(event));
    this.canvas.addEventListener('focus', () => this.select(this.selected ?? 0, true));
    this.canvas.addEventListener('blur', () => this.select(null, false));
    this.canvas.addEventListener('pointermove', (event) => this.onPointer(event));
    this.canvas.addEventListener('pointerleave', () => {
      if (document.activeElement !== this.canvas) this.select(null, false);
    });
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  makeUnder() {
    const under = make('div', 'under');
    this.scale = make('p', 'scale');
    this.scale.append(make('i', 'none'), make('span', '', 'none'), make('i', 'ramp'), make('span', '', 'all in memory'));
    under.append(this.readout, this.scale);
    return under;
  }

  makeTable() {
    this.details = make('details');
    const table = make('table');
    const head = make('tr');
    for (const name of ['From', 'To', 'In memory', 'Part']) {
      const cell = make('th', '', name);
      cell.scope = 'col';
      head.append(cell);
    }
    const thead = make('thead');
    thead.append(head);
    this.rows = make('tbody');
    table.append(make('caption', 'hidden', 'The parts of the file, and what of each is in memory'), thead, this.rows);
    this.details.append(make('summary', '', 'The same as a table'), table);
    return this.details;
  }

  show(generation, pageBytes) {
    this.generation = generation;
    this.pageBytes = pageBytes;
    const isUnknown = !generation.regions;
    const age = shown(generation.age_ms, (ms) => (ms < 1500 ? 'now' : `${durationText(ms)} ago`));
    setText(this.title, `Generation ${countText(generation.number)}` +
      (generation.is_served === false ? ', not served yet' : ''));
    setText(this.source, (SOURCES[generation.source] ?? generation.source ?? SOURCES.unknown) +
      (isKnown(generation.age_ms) ? `, ${age}` : ''));
    this.why.hidden = !isUnknown;
    setText(this.why, isKnown(generation.age_ms) ? WHY_UNKNOWN : NOT_YET);
    this.scale.hidden = isUnknown;
    this.canvas.setAttribute('aria-label', this.label());
    if (this.selected !== null && this.selected >= regionCount(generation)) this.selected = 0;
    this.showReadout();
    this.showTable();
    this.draw();
  }

  label() {
    const { generation } = this;
    const regions = generation.regions;
    const size = bytesText(generation.size_bytes);
    if (!regions) return `Map of ${size}: what is in memory is unknown.`;
    const fractions = regions.map((n, i) => n / pagesOfRegion(generation, this.pageBytes, i));
    const share = isKnown(generation.resident_bytes) && generation.size_bytes > 0
      ? Math.min(1, generation.resident_bytes / generation.size_bytes) : null;
    return `Map of ${size} in ${regions.length} regions of ${bytesText(generation.region_bytes)}: ` +
      `${percentText(share)} is in memory. ${fractions.filter((f) => f >= 1).length} regions are ` +
      `whole in memory, ${fractions.filter((f) => f === 0).length} not at all. ` +
      'Arrow keys move from region to region.';
  }

  regionText(i) {
    const part = partOf(this.generation, this.pageBytes, i);
    const what = part.fraction === null ? 'unknown' : `${percentText(part.fraction)} in memory`;
    return `${bytesText(part.from)} to ${bytesText(part.to)}: ${what}`;
  }

  /** Follows the numbers; only what the keyboard does is read out. */
  showReadout() {
    const hint = 'Each cell is ' + bytesText(this.generation.region_bytes) + ' of the file.';
    setText(this.readout, this.selected === null ? hint : this.regionText(this.selected));
  }

  select(i, isRead) {
    this.selected = i;
    if (!this.generation) return;
    this.showReadout();
    if (isRead && i !== null) {
      setText(this.live, `Region ${i + 1} of ${regionCount(this.generation)}, ${this.regionText(i)}`);
    }
    this.draw();
  }

  onKey(event) {
    if (!this.generation || event.ctrlKey || event.altKey || event.metaKey) return;
    const last = regionCount(this.generation) - 1;
    const at = this.selected ?? 0;
    const to = {
      ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - this.columns,
      ArrowDown: at + this.columns, Home: 0, End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to >= 0 && to <= last) this.select(to, true);
  }

  onPointer(event) {
    if (!this.generation) return;
    const x = Math.floor(event.offsetX / this.cell);
    const i = Math.floor(event.offsetY / this.cell) * this.columns + x;
    if (x < this.columns && i < regionCount(this.generation) && i !== this.selected) this.select(i, false);
  }

  showTable() {
    const n = regionCount(this.generation);
    const each = Math.ceil(n / PARTS);
    const parts = [];
    for (let i = 0; i < n; i += each) parts.push(partOf(this.generation, this.pageBytes, i, each));
    fillRows(this.rows, parts, (part) => [bytesText(part.from), bytesText(part.to),
      shown(part.resident, (pages) => bytesText(Math.min(pages * this.pageBytes, part.to - part.from))),
      percentText(part.fraction)]);
  }

  /** As many columns as there is room for, whole rows, and cells that are whole pixels. */
  layOut(width) {
    const n = regionCount(this.generation);
    this.columns = Math.max(1, Math.min(MAX_COLUMNS, n, Math.floor(width / SMALLEST_CELL)));
    this.cell = Math.min(LARGEST_CELL, width / this.columns);
    this.height = Math.ceil(Math.ceil(n / this.columns) * this.cell);
  }

  /** Where cell i is, in pixels of the canvas. */
  box(i) {
    const ratio = window.devicePixelRatio || 1;
    const edge = (n) => Math.round(n * this.cell * ratio);
    const [column, row] = [i % this.columns, Math.floor(i / this.columns)];
    const gap = Math.max(1, Math.round(ratio));
    return [edge(column), edge(row), edge(column + 1) - edge(column) - gap, edge(row + 1) - edge(row) - gap];
  }

  draw() {
    const width = this.canvas.clientWidth;
    if (!this.generation || width === 0) return;
    const ratio = window.devicePixelRatio || 1;
    this.layOut(width);
    this.canvas.style.height = `${this.height}px`;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const scale = ['--map-0', '--map-1', '--map-2', '--map-3'].map(colour);
    const context = this.canvas.getContext('2d');
    const hatch = this.generation.regions ? null : this.hatch(context, scale[0], colour('--muted'));
    for (let i = 0; i < regionCount(this.generation); i++) {
      const { fraction } = partOf(this.generation, this.pageBytes, i);
      context.fillStyle = fraction === null ? hatch ?? scale[0] : mapColour(scale, fraction);
      context.fillRect(...this.box(i));
    }
    if (this.selected !== null) {
      const [x, y, w, h] = this.box(this.selected);
      context.lineWidth = Math.max(2, 2 * ratio);
      context.strokeStyle = colour('--ink');
      context.strokeRect(x, y, w, h);
    }
  }

  hatch(context, ground, line) {
    const tile = document.createElement('canvas');
    tile.width = tile.height = 8;
    const pen = tile.getContext('2d');
    pen.fillStyle = ground;
    pen.fillRect(0, 0, 8, 8);
    pen.strokeStyle = line;
    pen.lineWidth = 1.5;
    pen.beginPath();
    for (const at of [-8, 0, 8]) {
      pen.moveTo(at, 8);
      pen.lineTo(at + 8, 0);
    }
    pen.stroke();
    return context.createPattern(tile, 'repeat');
  }
}
