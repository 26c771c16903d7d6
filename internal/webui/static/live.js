// Keeps the page current: one stream of events, and the content is fetched
// again when something that it shows has changed.
(() => {
  "use strict";
  const topics = () => (document.getElementById("content").dataset.topics || "").split(" ");
  if (topics()[0] === "") return; // nothing here changes, as on the login
  let waiting = false;
  const refresh = () => {
    if (waiting || document.hidden) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      const busy = document.activeElement && document.activeElement.form;
      if (busy || window.getSelection().toString() !== "") {
        setTimeout(refresh, 2000); // not under the reader's hands; later
        return;
      }
      htmx.ajax("GET", location.href, { target: "#content", select: "#content", swap: "outerHTML" });
    }, 500);
  };
  const events = new EventSource("/v1/events");
  const light = document.getElementById("live");
  let lost = false;
  events.onopen = () => {
    light.hidden = false;
    if (lost) refresh(); // what changed meanwhile was not told
    lost = false;
  };
  events.onerror = () => {
    light.hidden = true;
    lost = true;
  };
  events.addEventListener("change", (e) => {
    if (topics().includes(JSON.parse(e.data).topic)) refresh();
  });
  document.addEventListener("visibilitychange", refresh);
})();
