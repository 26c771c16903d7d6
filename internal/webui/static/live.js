// Keeps the page current: one stream of events, and what the page shows is fetched again
// when something in it has changed: the list alone where the page has one. What cannot be
// kept current says so.
(() => {
  "use strict";
  const content = () => document.getElementById("content");
  const topics = () => (content().dataset.topics || "").split(" ");

  // Boxes to choose rows with: all at once, and kept over a refresh.
  const boxes = () => [...document.querySelectorAll('#act input[name="job"]')];
  const showAll = () => document.querySelectorAll(".acts .all").forEach((e) => (e.hidden = false));
  document.addEventListener("change", (e) => {
    if (e.target.matches("[data-all]")) boxes().forEach((b) => (b.checked = e.target.checked));
  });
  let chosen = new Set();
  document.addEventListener("htmx:beforeSwap", () => {
    chosen = new Set(boxes().filter((b) => b.checked).map((b) => b.value));
  });
  document.addEventListener("htmx:afterSettle", () => {
    boxes().forEach((b) => (b.checked = b.checked || chosen.has(b.value)));
    showAll();
  });
  showAll();

  if (topics()[0] === "") return; // nothing here changes, as on the login
  const least = 2000; // between two refreshes; more where the server is slow
  let waiting = false;
  let took = 0;
  const busy = () => {
    const on = document.activeElement;
    return (on && on.form && on.type !== "checkbox" && on.dataset.live === undefined && on.type !== "submit") || window.getSelection().toString() !== "";
  };
  const refresh = () => {
    if (waiting || document.hidden) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      if (busy()) {
        refresh(); // not under the reader's hands; later
        return;
      }
      const part = content().dataset.list === undefined ? "#content" : "#list";
      const begun = Date.now();
      htmx.ajax("GET", location.href, { target: part, select: part, swap: "outerHTML" }).then(() => (took = Date.now() - begun));
    }, Math.max(least, 10 * took));
  };
  const light = document.getElementById("live");
  const events = new EventSource("/v1/events?beat=true");
  const silent = 40000; // two beats and a half
  let heard = 0;
  let lost = false;
  const alive = () => {
    heard = Date.now();
    light.hidden = false;
    if (!lost) return;
    lost = false;
    light.textContent = "live";
    light.className = "quiet";
    refresh(); // what changed meanwhile was not told
  };
  const stale = () => {
    if (lost) return;
    lost = true;
    light.hidden = false;
    light.className = "stale";
    light.textContent = "not live: as of " + new Date().toISOString().slice(11, 19) + " UTC";
  };
  events.onopen = alive;
  events.onerror = stale;
  events.addEventListener("alive", alive);
  events.addEventListener("change", (e) => {
    alive();
    if (topics().includes(JSON.parse(e.data).topic)) refresh();
  });
  setInterval(() => {
    if (heard && Date.now() - heard > silent) stale();
  }, 5000);
  document.addEventListener("visibilitychange", refresh);
})();
