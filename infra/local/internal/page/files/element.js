// Elements. All text reaches the document as text nodes, never as markup.

export const $ = id => document.getElementById(id);

// h makes an element. Attributes that are false or null are left out, functions are listeners.
export function h(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") e.addEventListener(key, value);
    else if (value !== false && value != null) e.setAttribute(key, value === true ? "" : value);
  }
  e.append(...children.flat().filter(c => c != null && c !== false));
  return e;
}

// refocus changes the document and puts the focus back to the part that had it, where that is drawn anew.
export function refocus(parent, change) {
  const focused = parent?.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  const drawn = change() ?? parent;
  if (focused) [...drawn.querySelectorAll("[data-focus]")].find(e => e.dataset.focus === focused)?.focus({preventScroll: true});
}

// keep replaces the children, unless they are equal: a button must not vanish under the pointer.
export function keep(parent, children) {
  const next = h(parent.tagName, {}, children);
  // What counts down is written every moment, and a button is busy while it works: neither is a difference.
  const content = e => {
    const copy = e.cloneNode(true);
    for (const t of copy.querySelectorAll("[data-until]")) t.replaceChildren();
    for (const b of copy.querySelectorAll("[aria-busy]")) b.removeAttribute("aria-busy");
    return copy.innerHTML;
  };
  if (content(parent) !== content(next)) refocus(parent, () => parent.replaceChildren(...next.childNodes));
}

const open = new Set(); // keys of the details that somebody has opened

// disclosure is a details element that stays open when it is drawn anew.
export function disclosure(key, attributes, summary, ...children) {
  const e = h("details", {...attributes, open: open.has(key)}, summary, ...children);
  e.addEventListener("toggle", () => {
    if (e.open === open.has(key)) return;
    e.open ? open.add(key) : open.delete(key);
    if (e.open) e.dispatchEvent(new Event("opened"));
  });
  return e;
}

const two = (n, w = 2) => String(n).padStart(w, "0");
export const clock = t => {
  const d = new Date(t);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${two(d.getMilliseconds(), 3)}`;
};
export const took = ms => ms == null ? "" : ms < 1 ? "< 1 ms" : ms < 1000 ? `${Math.round(ms)} ms` : ms < 6e4 ? `${(ms / 1000).toFixed(1)} s` :
  ms < 6e6 ? `${Math.floor(ms / 6e4)} min ${Math.round(ms % 6e4 / 1000)} s` : `${(ms / 36e5).toFixed(1)} h`;
export const moment = t => h("time", {datetime: t, title: t}, clock(t));
export const plural = (n, one, many = one + "s") => `${n} ${n === 1 ? one : many}`;
