// Keeps a page true: fetches #content anew when one of the page's topics
// changes, and the words beside each <time> as the clock goes.
(() => {
  'use strict';
  const topics = document.querySelector('main').dataset.topics.split(' ').filter(Boolean);
  const sign = document.getElementById('live');
  const show = (state) => { sign.className = state; sign.textContent = state; };

  const two = (s, big, bigName, small, smallName) =>
    Math.floor(s / big) + bigName + (s % big >= small ? Math.floor((s % big) / small) + smallName : '');
  const short = (s) => {
    if (s < 60) return Math.floor(s) + 's';
    if (s < 3600) return two(s, 60, 'm', 1, 's');
    if (s < 86400) return two(s, 3600, 'h', 60, 'm');
    return two(s, 86400, 'd', 3600, 'h');
  };
  setInterval(() => {
    for (const rel of document.querySelectorAll('time + .rel')) {
      const s = (Date.parse(rel.previousElementSibling.dateTime) - Date.now()) / 1000;
      const text = s >= 1 ? 'in ' + short(s) : s <= -1 ? short(-s) + ' ago' : 'now';
      if (rel.textContent !== text) rel.textContent = text;
    }
  }, 1000);

  if (topics.length === 0 || !window.EventSource || !window.htmx) return;

  const pause = 500; // between two fetches, in milliseconds
  const again = 3000; // after one that failed
  let source = null, timer = null, busy = false, dirty = false, failed = false;

  const refresh = async () => {
    timer = null;
    if (busy || document.hidden) { dirty = true; return; }
    const selection = getSelection();
    if (selection && selection.type === 'Range') { later(pause); return; } // somebody is copying
    busy = true; dirty = false; failed = false;
    try {
      await htmx.ajax('GET', location.pathname + location.search,
        { target: '#content', select: '#content', swap: 'outerHTML' });
    } catch { failed = true; }
    busy = false;
    if (failed) { show('stale'); later(again); return; }
    if (source && source.readyState === EventSource.OPEN) show('live');
    if (dirty) later(pause);
  };
  const later = (ms) => { if (timer === null) timer = setTimeout(refresh, ms); };
  for (const e of ['htmx:responseError', 'htmx:sendError', 'htmx:timeout']) {
    document.body.addEventListener(e, () => { failed = true; });
  }

  const open = () => {
    if (source) return;
    source = new EventSource('/v1/events');
    // What happened while nobody listened is fetched at once.
    source.addEventListener('open', () => { show('live'); later(0); });
    source.addEventListener('error', () => {
      show('stale');
      if (source.readyState === EventSource.CLOSED) { close(); setTimeout(follow, again); }
    });
    source.addEventListener('change', (e) => {
      if (topics.includes(JSON.parse(e.data).topic)) { busy ? dirty = true : later(pause); }
    });
  };
  const close = () => { if (source) { source.close(); source = null; } };
  // A page that nobody sees holds no connection: browsers have few per host.
  const follow = () => { document.hidden ? close() : open(); };
  document.addEventListener('visibilitychange', follow);
  addEventListener('pagehide', close);
  addEventListener('pageshow', follow);
  follow();
})();
