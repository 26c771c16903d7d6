// Shows what a run writes while it writes it.
(() => {
  "use strict";
  const most = 2000000; // characters; older ones go
  const part = () => document.querySelector("[data-log]");
  let begun = false;
  const tell = (text) => {
    const status = document.querySelector("[data-log] [role=status]");
    if (status) status.textContent = text;
  };
  const start = async () => {
    const section = part();
    if (!section) return;
    section.hidden = false; // again, after the page was fetched anew
    if (begun) return;
    begun = true;
    const log = section.querySelector("#log");
    const many = new Map();
    let gone = 0;
    const add = (text) => {
      log.append(text);
      while (log.textContent.length > most && log.firstChild) {
        gone += log.firstChild.textContent.length;
        log.firstChild.remove();
        tell(gone + " characters at the beginning are not shown any more");
      }
      const follow = document.querySelector("[data-follow]");
      if (follow && follow.checked) log.scrollTop = log.scrollHeight;
    };
    const stop = new AbortController();
    addEventListener("pagehide", () => stop.abort());
    try {
      const answer = await fetch(section.dataset.log, { signal: stop.signal });
      if (!answer.ok) throw new Error((await answer.json()).detail);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) {
          if (line === "") continue;
          const piece = JSON.parse(line);
          if (piece.error) throw new Error(piece.error);
          if (piece.leftOut) add("[… " + piece.leftOut + " bytes are left out here …]\n");
          const key = piece.minion + "/" + piece.stream;
          if (!many.has(key)) many.set(key, new TextDecoder());
          const text = many.get(key).decode(Uint8Array.from(atob(piece.data || ""), (c) => c.charCodeAt(0)), { stream: true });
          add(many.size > 1 ? text.replace(/^(?=.)/gm, piece.minion + (piece.stream === 2 ? " err" : "") + " | ") : text);
        }
      }
      tell("the run has ended");
    } catch (e) {
      if (e.name !== "AbortError") tell("the output ends here: " + e.message);
    }
  };
  start();
  document.addEventListener("refreshed", start);
  document.addEventListener("input", (e) => {
    const log = document.getElementById("log");
    if (!log) return;
    if (e.target.matches("[data-wrap]")) log.classList.toggle("unwrapped", !e.target.checked);
    if (e.target.matches("[data-find]")) {
      const words = e.target.value;
      const text = log.textContent;
      log.replaceChildren();
      let at = 0;
      for (let i = words ? text.indexOf(words) : -1; i >= 0; i = text.indexOf(words, at)) {
        const mark = document.createElement("mark");
        mark.textContent = words;
        log.append(text.slice(at, i), mark);
        at = i + words.length;
      }
      log.append(text.slice(at));
      const first = log.querySelector("mark");
      if (first) first.scrollIntoView({ block: "nearest" });
    }
  });
})();
