// The page: asks the server once a second, and shows what it says. All text goes in as text.

const POLL_MS = 1000;
const TIMEOUT_MS = 5000;
const SENTENCE_MS = 10000;
// A page that the server does not have is asked for now and then: another version may come.
const MISSING_MS = 60000;

const byId = (id) => document.getElementById(id);
const put = (id, text) => setText(byId(id), text);

/** What the page knows, for whoever looks at it from outside. */
const state = {
  stats: null, residency: null, slow: null, samples: [], moments: [], polls: 0, awaySince: null,
  delta: null, sentence: null, missing: {},
};
const maps = new Map(); // by a generation's number

/** Makes the table's body show the items, with as few changes as can be. A cell is a text, or
 * {text, className}; the first one is the row's head where isHeaded. */
function fillRows(body, items, cellsOf, isHeaded = false) {
  while (body.rows.length > items.length) body.lastElementChild.remove();
  items.forEach((item, i) => {
    const cells = cellsOf(item).map((cell) => (typeof cell === 'string' ? { text: cell } : cell));
    const row = body.rows[i] ?? body.appendChild(make('tr'));
    cells.forEach(({ text, className = '', span = 1 }, j) => {
      const tag = isHeaded && j === 0 && span === 1 ? 'th' : 'td';
      let cell = row.children[j];
      if (!cell || cell.localName !== tag) {
        const fresh = make(tag);
        if (tag === 'th') fresh.scope = 'row';
        if (cell) cell.replaceWith(fresh);
        else row.append(fresh);
        cell = fresh;
      }
      setText(cell, text);
      if (cell.className !== className) cell.className = className;
      if (cell.colSpan !== span) cell.colSpan = span;
    });
    while (row.children.length > cells.length) row.lastElementChild.remove();
  });
}

// Each on a line of its own: what is said first must not be gone before it was read out.
function announce(text) {
  const line = document.createElement('p');
  line.textContent = text;
  const log = byId('announcement');
  log.append(line);
  if (log.children.length > 4) log.firstChild.remove();
}

// Samples

function isRestarted(sample, stats) {
  const [before, now] = [sample.uptime, numberAt(stats, 'process.uptime_ms')];
  return isKnown(before) && isKnown(now) && now < before;
}

function methodRates(from, to, seconds) {
  const rates = {};
  for (const [name, method] of Object.entries(to.stats.methods ?? {})) {
    const [a, b] = [numberAt(from.stats, `methods.${name}.requests`), numberAt(method, 'requests')];
    rates[name] = isKnown(a) && isKnown(b) && b >= a ? (b - a) / seconds : null;
  }
  return rates;
}

/** Keeps the sample; gives what has been added over the last ten seconds. */
function addSample(stats, at) {
  const sample = { at, stats, uptime: numberAt(stats, 'process.uptime_ms'), counters: counters(stats) };
  const last = state.samples.at(-1);
  if (last && isRestarted(last, stats)) state.samples = [];
  if (last && state.samples.length > 0) {
    const delta = added(last, sample);
    const rates = {};
    for (const name of Object.keys(delta)) rates[name] = isKnown(delta[name]) ? delta[name] / delta.seconds : null;
    state.moments.push({ at, rates });
  }
  state.samples.push(sample);
  while (state.samples.length > 2 && at - state.samples[1].at >= SENTENCE_MS) state.samples.shift();
  state.moments = state.moments.filter((moment) => at - moment.at <= (CHART_SECONDS + GAP_SECONDS) * 1000);
  const first = state.samples[0];
  state.delta = first === sample ? null : added(first, sample);
  state.rates = state.delta ? methodRates(first, sample, state.delta.seconds) : {};
}

// What is shown

function listAt(object, name) {
  const list = object?.[name];
  return Array.isArray(list) ? list.filter((item) => typeof item === 'object' && item !== null) : [];
}

/** Those that a map can be drawn of. */
function generations() {
  return listAt(state.residency, 'generations')
    .filter((generation) => isKnown(generation.number) && isKnown(generation.size_bytes));
}

function servedGeneration() {
  const list = generations();
  return list.find((generation) => generation.is_served) ?? list[0] ?? null;
}

function showState(stats) {
  const reason = textAt(stats, 'unready');
  const before = byId('state').dataset.state;
  const now = reason === null ? 'ready' : 'unready';
  byId('state').dataset.state = now;
  put('state-text', reason === null ? 'Ready' : `Not ready: ${reason}`);
  if (before !== now) announce(reason === null ? 'The service is ready.' : `The service is not ready: ${reason}.`);
  const damage = textAt(stats, 'damage');
  byId('alarm').hidden = damage === null;
  put('alarm', damage === null ? '' : `The served file cannot be trusted any more: ${damage}`);
}

function showHead(stats) {
  put('version', textAt(stats, 'version') ?? '');
  put('path', textAt(stats, 'path') ?? '');
  put('generation', countText(numberAt(stats, 'tree.generation')));
  put('size', bytesText(numberAt(stats, 'tree.mapped_bytes')));
  put('serving', `${countText(numberAt(stats, 'process.serving'))} of ${countText(numberAt(stats, 'process.workers'))}`);
  put('connections', countText(numberAt(stats, 'connections.open')));
  put('uptime', durationText(numberAt(stats, 'process.uptime_ms')));
}

function showSentence(stats) {
  const served = servedGeneration();
  const said = sentence({
    delta: state.delta,
    sizeBytes: numberAt(stats, 'tree.mapped_bytes'),
    residentBytes: numberAt(served, 'resident_bytes'),
    isAllResident: served?.source !== 'pagemap',
    warmup: {
      state: textAt(stats, 'warmup.state'),
      readBytes: numberAt(stats, 'warmup.read_bytes'),
      totalBytes: numberAt(stats, 'warmup.total_bytes'),
    },
  });
  if (state.sentence?.kind !== said.kind && said.kind !== 'waiting') announce(said.text);
  state.sentence = said;
  byId('sentence').dataset.kind = said.kind;
  put('sentence', said.text);
  put('sentence-detail', sentenceDetail(state.delta));
}

function showBar(stats) {
  const served = servedGeneration();
  const size = numberAt(stats, 'tree.mapped_bytes');
  const resident = numberAt(served, 'resident_bytes');
  const pss = numberAt(stats, 'tree.pss_bytes');
  const share = (n) => (isKnown(n) && size > 0 ? Math.min(1, n / size) : null);
  const withShare = (n) => (share(n) === null ? bytesText(n) : `${bytesText(n)}, ${percentText(share(n))}`);
  byId('bar').classList.toggle('unknown', resident === null);
  byId('bar-resident').style.width = `${(share(resident) ?? 0) * 100}%`;
  byId('bar-pss').style.width = `${(share(pss) ?? 0) * 100}%`;
  put('resident-label', served?.source === 'pagemap' ? 'Touched by workers' : 'In memory');
  put('resident', withShare(resident));
  put('pss', withShare(pss));
  put('mapped', bytesText(size));
  put('anon', bytesText(numberAt(stats, 'memory.rss_anon_bytes')));
  put('locked', bytesText(numberAt(stats, 'tree.locked_bytes')));
  byId('bar').setAttribute('aria-label', `Of ${bytesText(size)}, ${withShare(resident)} ` +
    `is in memory, and ${withShare(pss)} is mapped by workers.`);
}

function showMaps() {
  const usable = generations();
  for (const [number, map] of maps) {
    if (usable.some((generation) => generation.number === number)) continue;
    map.root.remove();
    maps.delete(number);
  }
  for (const generation of usable) {
    if (!maps.has(generation.number)) {
      maps.set(generation.number, new ResidencyMap(byId('map-live')));
      byId('maps').append(maps.get(generation.number).root);
    }
    maps.get(generation.number).show(generation, numberAt(state.residency, 'page_bytes') ?? 4096);
  }
  byId('no-map').hidden = usable.length > 0;
}

function showMethods(stats) {
  const used = Object.entries(stats.methods ?? {}).filter(([, method]) => method?.requests > 0);
  const empty = [['', {}]];
  fillRows(byId('methods').tBodies[0], used.length > 0 ? used : empty, ([name, method]) => (name === ''
    ? [{ text: 'No requests yet.', className: 'empty', span: 9 }]
    : [name, rateText(state.rates[name]), countText(method.requests),
      { text: countText(method.errors), className: method.errors > 0 ? 'warn' : '' },
      latencyText(method.warm_p50_ns), latencyText(method.warm_p99_ns), countText(method.offloaded),
      latencyText(method.cold_p50_ns), latencyText(method.cold_p99_ns)]), true);
}

function showWorkers(stats) {
  const workers = listAt(stats, 'workers');
  const number = (worker, path) => countText(numberAt(worker, path));
  const bytes = (worker, path) => bytesText(numberAt(worker, path));
  fillRows(byId('workers').tBodies[0], workers, (worker) => [
    number(worker, 'worker'), shown(numberAt(worker, 'pid'), String),
    durationText(numberAt(worker, 'process.uptime_ms')), number(worker, 'connections.open'),
    bytes(worker, 'memory.rss_file_bytes'), bytes(worker, 'memory.rss_anon_bytes'),
    bytes(worker, 'tree.pss_bytes'), number(worker, 'faults.minor'), number(worker, 'faults.major'),
    number(worker, 'tree.generation')], true);
}

const WARMUP_TEXTS = {
  off: 'Nothing is warmed up', running: 'Running', done: 'Done', failed: 'Failed: the log says why',
  cancelled: 'Cancelled',
};

function showWarmup(stats) {
  const how = textAt(stats, 'warmup.state');
  const [read, total] = ['read_bytes', 'total_bytes'].map((name) => numberAt(stats, `warmup.${name}`));
  const fraction = isKnown(read) && total > 0 ? Math.min(1, read / total) : null;
  const bar = byId('warmup-bar');
  put('warmup-text', (WARMUP_TEXTS[how] ?? how ?? UNKNOWN) + (fraction === null ? '' : `, ${percentText(fraction)}`));
  byId('warmup-fill').style.width = `${(fraction ?? 0) * 100}%`;
  if (fraction === null) bar.removeAttribute('aria-valuenow');
  else bar.setAttribute('aria-valuenow', String(Math.floor(fraction * 100)));
  put('warmup-mode', textAt(stats, 'warmup.mode') ?? UNKNOWN);
  put('warmup-read', total > 0 ? `${bytesText(read)} of ${bytesText(total)}` : bytesText(read));
  put('warmup-eta', durationText(numberAt(stats, 'warmup.eta_ms')));
  put('warmup-generation', countText(numberAt(stats, 'warmup.generation')));
  put('profile-age', shown(numberAt(stats, 'profile.age_ms'), (ms) => `${durationText(ms)} ago`));
  put('profile-pages', countText(numberAt(stats, 'profile.pages')));
  put('profile-saves', `${countText(numberAt(stats, 'profile.saves'))}, ${countText(numberAt(stats, 'profile.failures'))}`);
}

function showGenerations(stats) {
  const number = numberAt(stats, 'tree.generation');
  const isReloading = numberAt(stats, 'tree.reloading') > 0;
  const restarts = Object.values(stats.restarts ?? {}).filter(isKnown);
  put('generations-text', `Generation ${countText(number)}${isReloading ? ', and another one is looked at' : ''}`);
  put('identity', textAt(servedGeneration(), 'identity') ?? UNKNOWN);
  put('reloads', countText(numberAt(stats, 'tree.reloads')));
  put('refused', countText(numberAt(stats, 'tree.refused')));
  put('refusal', textAt(stats, 'refusal') ?? 'none');
  put('damage', textAt(stats, 'damage') ?? 'none');
  put('restarts', restarts.length > 0 ? countText(restarts.reduce((a, b) => a + b, 0)) : UNKNOWN);
}

function keyText(key) {
  if (typeof key?.text === 'string') return key.text;
  return typeof key?.hex === 'string' ? `0x${key.hex}` : UNKNOWN;
}

function showSlow() {
  const latest = listAt(state.slow, 'requests').sort((a, b) => b.at_ms - a.at_ms).slice(0, 20);
  const limit = numberAt(state.slow, 'slow_ms');
  put('slow-note', limit === null ? 'Whether requests were slow is not known.'
    : `Requests that took ${countText(limit)} ms or longer, the latest first.`);
  const rows = latest.length > 0 ? latest : [null];
  fillRows(byId('slow').tBodies[0], rows, (request) => (request === null
    ? [{ text: limit === null ? UNKNOWN : 'None so far.', className: 'empty', span: 8 }]
    : [typeof request.method === 'string' ? request.method : UNKNOWN, timeText(request.at_ms),
      latencyText(shownNs(request.duration_ms)), countText(request.pages_missed),
      countText(request.slices), countText(request.worker),
      { text: countText(request.error), className: isKnown(request.error) ? 'warn' : '' },
      { text: keyText(request.key), className: 'key' }]), true);
}

function shownNs(ms) {
  return isKnown(ms) ? ms * 1e6 : null;
}

const charts = [
  new Chart('Requests', 'a second', [{ label: 'requests', rate: (r) => r.requests }]),
  new Chart('Page faults', 'a second', [
    { label: 'minor', rate: (r) => r.minor, isPart: true }, { label: 'major', rate: (r) => r.major, isPart: true }]),
  new Chart('Pages read for requests', 'a second', [
    { label: 'read', rate: (r) => r.pagesRead }, { label: 'refaults', rate: (r) => r.refaults }]),
];

function showAll() {
  const { stats } = state;
  showState(stats);
  showHead(stats);
  showSentence(stats);
  showBar(stats);
  showMaps();
  showMethods(stats);
  showWorkers(stats);
  showWarmup(stats);
  showGenerations(stats);
  showSlow();
  for (const chart of charts) chart.draw(state.moments, Date.now());
  put('freshness', `As of ${timeText(Date.now())}, asked for every second.`);
}

// Asking

async function ask(url) {
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), cache: 'no-store' });
  if (response.status === 404) return null;
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.json();
}

/** For what a server need not have. */
async function askIfThere(url) {
  if (Date.now() < (state.missing[url] ?? 0)) return null;
  const answer = await ask(url).catch(() => null);
  if (answer === null) state.missing[url] = Date.now() + MISSING_MS;
  return answer;
}

function onAway() {
  if (state.awaySince === null) {
    state.awaySince = Date.now();
    announce('The server is not reachable.');
    state.missing = {};
  }
  document.body.classList.add('is-away');
  byId('state').dataset.state = 'away';
  put('state-text', `Not reachable since ${timeText(state.awaySince)}`);
}

function onBack() {
  state.awaySince = null;
  document.body.classList.remove('is-away');
}

/** What the server says, or null if it does not answer. */
async function askAll() {
  try {
    const stats = await ask('stats');
    const [residency, slow] = await Promise.all([askIfThere('residency'), askIfThere('slow')]);
    return stats && { stats, residency, slow };
  } catch {
    return null;
  }
}

async function poll() {
  const answers = await askAll();
  if (answers) {
    Object.assign(state, answers);
    addSample(state.stats, Date.now());
    onBack();
    showAll();
  } else {
    onAway();
  }
  state.polls++;
}

let isPolling = false;

async function pollOn() {
  if (isPolling) return;
  isPolling = true;
  while (!document.hidden) {
    const begin = performance.now();
    await poll().catch(reportError); // what cannot be shown now may be another time
    const left = Math.max(100, POLL_MS - (performance.now() - begin));
    await new Promise((resolve) => { setTimeout(resolve, left); });
  }
  isPolling = false;
}

for (const chart of charts) byId('charts').append(chart.root);
document.addEventListener('visibilitychange', pollOn);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const map of maps.values()) map.draw();
});
window.actd = { sentence, state, maps, numbers: { bytesText, durationText, latencyText, percentText, rateText } };
pollOn();
