// What is said about memory, and the samples that it is said from.

/** Counters that rates are made of. */
function counters(stats) {
  const methods = Object.values(stats.methods ?? {});
  const sum = (name) => methods.reduce((n, method) => n + (numberAt(method, name) ?? 0), 0);
  return {
    requests: methods.length > 0 ? sum('requests') : null,
    minor: numberAt(stats, 'faults.minor'),
    major: numberAt(stats, 'faults.major'),
    coldMajor: numberAt(stats, 'cold.major_faults'),
    pagesRead: numberAt(stats, 'cold.pages_read'),
    pagesGone: numberAt(stats, 'cold.gone_pages'),
    refaults: numberAt(stats, 'memory.refaults'),
  };
}

/** What was added from one sample to another, and in how many seconds. What is unknown in one of
 * them is null, and so is what has gone down: it began anew. */
function added(from, to) {
  const result = { seconds: (to.at - from.at) / 1000 };
  for (const name of Object.keys(to.counters)) {
    const [a, b] = [from.counters[name], to.counters[name]];
    result[name] = isKnown(a) && isKnown(b) && b >= a ? b - a : null;
  }
  return result;
}

/** Pages that had to come from the disk, as far as is known: those that threads have read, and the
 * major faults of everybody else. */
function pagesFromDisk(delta) {
  const others = isKnown(delta.major) ? Math.max(0, delta.major - (delta.coldMajor ?? 0)) : null;
  if (!isKnown(delta.pagesRead)) return others;
  return delta.pagesRead + (others ?? 0);
}

/** More than a few: five a second, or one for each ten requests where there are few of these. A
 * single page is nothing yet. */
function isMuch(n, delta) {
  if (!isKnown(n) || n < 2) return false;
  return n >= 5 * delta.seconds || (delta.requests > 0 && n * 10 >= delta.requests);
}

/**
 * A plain sentence about memory.
 *
 *   delta         what the last seconds have added: `added()`; null before there are two samples
 *   sizeBytes     size of the file, null or 0: none is served
 *   residentBytes what of it is in memory, or null
 *   isAllResident does residentBytes tell of the page cache? (pagemap tells only what was touched)
 *   warmup        {state, readBytes, totalBytes}: the warm-up, or null
 *
 * Gives {kind, text}. The kinds, in the order in which they are looked for:
 *
 *   none       no file is served
 *   waiting    less than two seconds have been seen
 *   too-large  pages come back that the kernel had taken away (memory.refaults), and pages are read
 *              for us: refaults may be those of others who share our memory, and no more of them
 *              are ours than pages were read
 *   losing     refaults are unknown, and pages that were in memory are found gone while others are
 *              read, at least half as many
 *   warming    a warm-up is running
 *   cold       pages are read that are not known to have been there before
 *   idle       nothing is asked, so nothing is known but what is there
 *   fits       requests are answered from memory
 */
function sentence({ delta, sizeBytes, residentBytes, isAllResident, warmup }) {
  const say = (kind, text) => ({ kind, text });
  if (!sizeBytes) return say('none', 'No file is served.');
  if (!delta || delta.seconds < 2) {
    return say('waiting', 'Watching. The first numbers come in a moment.');
  }
  const perSecond = (n) => rateText(n / delta.seconds);
  const fraction = isKnown(residentBytes) ? Math.min(1, residentBytes / sizeBytes) : null;
  const inMemory = isAllResident ? 'of it is in memory' : 'of it was touched';
  const part = fraction === null ? '' : `${percentText(fraction)} ${inMemory}, `;
  const read = pagesFromDisk(delta);
  const refaults = delta.refaults === null ? null : Math.min(delta.refaults, read ?? Infinity);

  if (isMuch(refaults, delta)) {
    return say('too-large', `The file does not fit: ${perSecond(refaults)} refaults a second.`);
  }
  if (delta.refaults === null && isMuch(read, delta) && delta.pagesGone * 2 >= read) {
    return say('losing', `The file does not fit: ${perSecond(read)} pages a second are read, ` +
      `${perSecond(delta.pagesGone)} are lost.`);
  }
  if (warmup?.state === 'running') {
    const done = warmup.totalBytes > 0 ? warmup.readBytes / warmup.totalBytes : null;
    return say('warming', done === null ? 'The file is being warmed up.'
      : `The file is being warmed up: ${percentText(Math.min(1, done))} is done.`);
  }
  if (isMuch(read, delta)) {
    return say('cold', `The file is not warm yet: ${part}${perSecond(read)} pages a second are read.`);
  }
  if (!delta.requests) {
    return say('idle', fraction === null ? 'Nothing is asked at the moment.'
      : `Nothing is asked at the moment: ${percentText(fraction)} of the file ` +
        `${isAllResident ? 'is in memory' : 'was touched'}.`);
  }
  if (!isKnown(delta.minor) || !isKnown(delta.major)) {
    return say('fits', 'The working set fits.');
  }
  const faults = (delta.minor + delta.major) / delta.requests;
  return say('fits', `The working set fits: ${faultsText(faults)} a request.`);
}

function faultsText(faults) {
  if (faults > 0 && faults < 0.05) return 'fewer than 0.1 faults';
  return `${faults < 9.95 ? faults.toFixed(1) : countText(faults)} faults`;
}

/** What stands below the sentence: the numbers that it was made of. */
function sentenceDetail(delta) {
  if (!delta || delta.seconds < 2) return '';
  const refaults = delta.refaults === null ? '' : `, ${countText(delta.refaults)} refaults`;
  return `In the last ${Math.round(delta.seconds)} s: ${countText(delta.requests)} requests, ` +
    `${countText(delta.minor)} minor and ${countText(delta.major)} major faults, ` +
    `${countText(delta.pagesRead)} pages read for requests${refaults}.`;
}
