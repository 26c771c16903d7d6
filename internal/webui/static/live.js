// Keeps the page current: one stream of events, and what the page shows is fetched again
// when something in it has changed: the list alone where the page has one. Of what was
// fetched, only what differs is changed here. What cannot be kept current says so.
(() => {
  "use strict";
  const content = () => document.getElementById("content");
  const topics = () => (content().dataset.topics || "").split(" ");

  // Boxes to choose rows with: all at once, and kept over a search.
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
  document.addEventListener("refreshed", showAll);
  showAll();

  if (topics()[0] === "") return; // nothing here changes, as on the login
  const least = 2000; // between two refreshes; more where the server is slow
  let waiting = false;
  let took = 0;
  const light = document.getElementById("live");
  const say = (className, text) => {
    light.hidden = false;
    light.className = className;
    light.textContent = text;
  };
  const fetchAgain = async () => {
    const part = content().dataset.list === undefined ? "content" : "list";
    const begun = Date.now();
    const answer = await fetch(location.href, { headers: { "HX-Request": "true", "HX-Target": part } });
    if (answer.redirected) {
      location.reload(); // the login has ended
      return;
    }
    if (answer.status === 404) {
      say("stale", "not there any more");
      return;
    }
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(part);
    const old = document.getElementById(part);
    if (fresh && old) morph(old, fresh);
    took = Date.now() - begun;
  };
  const refresh = () => {
    if (waiting || document.hidden) return;
    waiting = true;
    setTimeout(() => {
      fetchAgain()
        .catch(stale)
        .finally(() => (waiting = false));
    }, Math.max(least, 10 * took));
  };
  const events = new EventSource("/v1/events?beat=true");
  const silent = 40000; // two beats and a half
  let heard = 0;
  let lost = false;
  const alive = () => {
    heard = Date.now();
    if (light.hidden) light.hidden = false;
    if (!lost) return;
    lost = false;
    say("quiet", "live");
    refresh(); // what changed meanwhile was not told
  };
  const stale = () => {
    if (lost) return;
    lost = true;
    say("stale", "not live: as of " + new Date().toISOString().slice(11, 19) + " UTC");
  };
  events.onopen = alive;
  events.onerror = stale;
  events.addEventListener("alive", alive);
  events.addEventListener("change", (e) => {
    alive();
    const { topic, names } = JSON.parse(e.data);
    const about = content().dataset.about;
    if (topics().includes(topic) && !(about && names && !names.includes(about))) refresh();
  });
  setInterval(() => {
    if (heard && Date.now() - heard > silent) stale();
  }, 5000);
  document.addEventListener("visibilitychange", refresh);
})();
