// Writes instants in UTC, in the reader's own zone, or by how far away they are, as the
// reader chooses, and keeps the latter right while the page stands.
(() => {
  "use strict";
  const ways = { utc: "UTC", local: "local time", relative: "relative" };
  let way = localStorage.getItem("times");
  if (!ways[way]) way = "utc";
  const two = (n) => String(n).padStart(2, "0");
  const far = (t) => {
    const s = Math.round((t - Date.now()) / 1000);
    const n = Math.abs(s);
    const text =
      n >= 172800 ? Math.floor(n / 86400) + "d" + Math.floor((n % 86400) / 3600) + "h"
      : n >= 3600 ? Math.floor(n / 3600) + "h" + Math.floor((n % 3600) / 60) + "m"
      : n >= 60 ? Math.floor(n / 60) + "m" + (n % 60) + "s"
      : n + "s";
    return s > 0 ? "in " + text : text + " ago";
  };
  const local = (t) =>
    t.getFullYear() + "-" + two(t.getMonth() + 1) + "-" + two(t.getDate()) + " " + two(t.getHours()) + ":" + two(t.getMinutes()) + ":" + two(t.getSeconds());
  const write = (e, text) => {
    if (e.textContent !== text) e.textContent = text;
  };
  const show = () => {
    document.documentElement.dataset.times = way;
    for (const e of document.querySelectorAll("time[datetime]")) {
      const t = new Date(e.dateTime);
      const utc = t.toISOString().slice(0, 19).replace("T", " ");
      write(e, way === "relative" ? far(t) : way === "local" ? local(t) : utc);
      e.title = way === "utc" ? t.toString() : utc + " UTC";
      const next = e.nextElementSibling;
      if (next && next.matches(".ago")) write(next, far(t));
    }
    for (const e of document.querySelectorAll(".yours")) {
      if (e.dataset.local) write(e, new Date(e.dataset.local).toLocaleString(undefined, { timeZoneName: "short" }));
      e.hidden = false;
    }
    const told = document.getElementById("times-are");
    if (told) write(told, way === "local" ? "times are local" : way === "relative" ? "times are relative" : "times are UTC");
  };
  const label = document.getElementById("times");
  if (label) {
    const choice = label.querySelector("select");
    for (const [value, text] of Object.entries(ways)) choice.add(new Option(text, value, false, value === way));
    choice.addEventListener("change", () => {
      way = choice.value;
      localStorage.setItem("times", way);
      show();
    });
    label.hidden = false;
  }
  show();
  document.addEventListener("htmx:afterSettle", show);
  document.addEventListener("refreshed", show);
  setInterval(() => {
    if (!document.hidden) show();
  }, 5000);
})();
