// Makes a part of the page like another one by changing only what differs: what has the
// keyboard's focus, is chosen, opened or marked stays so. Rows are known by data-key or id,
// parts of the page by their headings.
(() => {
  "use strict";
  const keyOf = (e) => (e.nodeType === 1 ? e.id || e.dataset.key || (e.nodeName === "H2" ? e.textContent : "") : "");
  // What is the reader's, or a script's, is not the server's to say.
  const kept = (e, name) => name === "hidden" || (name === "open" && e.nodeName === "DETAILS");

  const attributes = (to, from) => {
    for (const { name } of [...to.attributes]) if (!from.hasAttribute(name) && !kept(to, name)) to.removeAttribute(name);
    for (const { name, value } of from.attributes) if (to.getAttribute(name) !== value && !kept(to, name)) to.setAttribute(name, value);
  };
  const drop = (e) => {
    const next = e.nextSibling;
    e.remove();
    return next;
  };
  const morph = (to, from) => {
    if (to.nodeType !== 1) {
      if (to.data !== from.data) to.data = from.data;
      return;
    }
    if (to.hasAttribute("hx-preserve") || to.isEqualNode(from)) return;
    attributes(to, from);
    const known = new Map([...to.children].filter(keyOf).map((e) => [keyOf(e), e]));
    const wanted = new Set([...from.children].map(keyOf));
    let at = to.firstChild;
    for (const f of from.childNodes) {
      while (at && keyOf(at) && !wanted.has(keyOf(at))) at = drop(at);
      const hit = known.get(keyOf(f));
      if (hit && hit.nodeName === f.nodeName) {
        if (hit === at) at = at.nextSibling;
        else to.insertBefore(hit, at);
        morph(hit, f);
      } else if (at && !keyOf(at) && !keyOf(f) && at.nodeName === f.nodeName) {
        morph(at, f);
        at = at.nextSibling;
      } else {
        to.insertBefore(document.importNode(f, true), at);
      }
    }
    while (at) at = drop(at);
  };
  window.morph = (to, from) => {
    const on = document.activeElement;
    morph(to, from);
    // A row that moves takes the focus with it; one that goes leaves it to its list.
    if (on && on !== document.activeElement) (on.isConnected ? on : document.getElementById("content")).focus({ preventScroll: true });
    document.dispatchEvent(new Event("refreshed"));
  };
})();
