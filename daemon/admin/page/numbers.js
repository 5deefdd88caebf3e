// Numbers as text. What is unknown (null, or not there) is a dash, never 0.
const UNKNOWN = '–';
const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

function isKnown(value) {
  return typeof value === 'number' && Number.isFinite(value);
}

/** What is at 'a.b.c' of a JSON object; null if it is not there, or is of another type. */
function numberAt(object, path) {
  const value = path.split('.').reduce((at, name) => at?.[name], object);
  return isKnown(value) ? value : null;
}

function textAt(object, path) {
  const value = path.split('.').reduce((at, name) => at?.[name], object);
  return typeof value === 'string' && value !== '' ? value : null;
}

/** Text with a number that may be unknown in it. */
function shown(value, format) {
  return isKnown(value) ? format(value) : UNKNOWN;
}

function countText(value) {
  return shown(value, (n) => grouped.format(n));
}

/** Of something a second: small ones with a decimal. */
function rateText(value) {
  return shown(value, (n) => (n > 0 && n < 9.95 ? n.toFixed(1) : grouped.format(n)));
}

function percentText(fraction) {
  return shown(fraction, (f) => {
    if (f > 0 && f < 0.01) return '< 1 %';
    if (f > 0.99 && f < 1) return '> 99 %';
    return `${Math.round(f * 100)} %`;
  });
}

function bytesText(value) {
  return shown(value, (n) => {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
    let unit = 0;
    while (n >= 1023.5 && unit < units.length - 1) {
      n /= 1024;
      unit++;
    }
    return `${unit > 0 && n < 99.95 ? n.toFixed(1) : n.toFixed(0)} ${units[unit]}`;
  });
}

/** Milliseconds, by their two largest units. */
function durationText(value) {
  return shown(value, (ms) => {
    const s = Math.floor(ms / 1000);
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
  });
}

/** Nanoseconds that something took; 0 stands for "none was measured". */
function latencyText(value) {
  return shown(value, (ns) => {
    if (ns <= 0) return UNKNOWN;
    const units = ['ns', 'µs', 'ms', 's'];
    let unit = 0;
    while (ns >= 999.5 && unit < units.length - 1) {
      ns /= 1000;
      unit++;
    }
    return `${ns < 9.95 && unit > 0 ? ns.toFixed(1) : ns.toFixed(0)} ${units[unit]}`;
  });
}

function timeText(ms) {
  return shown(ms, (at) => new Date(at).toLocaleTimeString('en-GB'));
}

function plural(n, one, many) {
  return `${countText(n)} ${n === 1 ? one : many}`;
}
