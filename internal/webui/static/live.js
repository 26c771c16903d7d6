// Keeps the page current: one stream of events, and the content is fetched
// again when something that it shows has changed.
(() => {
  "use strict";
  const topics = () => (document.getElementById("content").dataset.topics || "").split(" ");
  let waiting = false;
  const refresh = () => {
    if (waiting || document.hidden) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      const busy = document.activeElement && document.activeElement.form;
      if (busy || window.getSelection().toString() !== "") return;
      htmx.ajax("GET", location.href, { target: "#content", select: "#content", swap: "outerHTML" });
    }, 500);
  };
  const events = new EventSource("/v1/events");
  const light = document.getElementById("live");
  events.onopen = () => { light.hidden = false; };
  events.onerror = () => { light.hidden = true; };
  events.addEventListener("change", (e) => {
    if (topics().includes(JSON.parse(e.data).topic)) refresh();
  });
  document.addEventListener("visibilitychange", refresh);
})();
