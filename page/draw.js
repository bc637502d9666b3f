// Building blocks of the figures: elements, bars, token chips, readouts. Text goes in as
// text only (never as markup), so tokens and file names cannot do anything but be read.
"use strict";
(() => {
  const Page = (window.Page ??= {});

  /** element("p", {class: "note", text: "…", onclick: f, hidden: true}, ...children) */
  function element(tag, attributes = {}, ...children) {
    return build(document.createElement(tag), attributes, children);
  }

  function svg(tag, attributes = {}, ...children) {
    return build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  }

  function build(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") node.textContent = value;
      else if (typeof value === "function") node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value != null) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child != null));
    return node;
  }

  /** The place of a figure in index.html: <div data-slot="name"> within the step's section. */
  function slot(root, name) {
    const found = root.querySelector(`[data-slot="${name}"]`);
    if (!found) throw new Error(`no slot ${name} in #${root.id}`);
    return found;
  }

  const kept = new WeakMap();

  /** What belongs to a box, made once: keep(box, "name", () => node). */
  function keep(box, name, make) {
    const things = kept.get(box) ?? new Map();
    kept.set(box, things);
    if (!things.has(name)) {
      things.set(name, make());
      box.append(things.get(name));
    }
    return things.get(name);
  }

  const widths = new WeakMap();
  const observer = new ResizeObserver((changed) => { for (const { target } of changed) widths.set(target, target.clientWidth); });

  /** How wide a box is, in CSS pixels. Measured once and kept up to date from outside: a figure that asks the
   *  box itself makes the browser lay out all that the figures before it have changed. */
  function widthOf(box) {
    if (!widths.has(box)) {
      widths.set(box, box.clientWidth);
      observer.observe(box);
    }
    return widths.get(box) || 640; // 0: not shown yet
  }

  /** One sentence under a figure that says in words what it shows. */
  function readout(box, text) {
    const node = keep(box, "readout", () => element("p", { class: "readout" }));
    if (node.textContent !== text) node.textContent = text;
    box.append(node); // always last
    return node;
  }

  /** A heading for a part of a figure. */
  function subtitle(box, text) {
    const node = keep(box, `subtitle ${text}`, () => element("p", { class: "subtitle", text }));
    return node;
  }

  /** Horizontal bars, one line each: label, bar, number. A negative value grows to the left.
   *  items: [{label, value, text, hue, faded}]; hue: name of a colour variable; wide: room
   *  for a longer text behind each bar. */
  function bars(box, { label, items, max, hue = "probability", wide = false }) {
    const list = keep(box, "bars", () => element("ul", { class: "bars", role: "list" }));
    list.setAttribute("aria-label", label);
    const limit = max ?? Math.max(1e-12, ...items.map((item) => Math.abs(item.value)));
    const signed = items.some((item) => item.value < 0);
    list.classList.toggle("signed", signed);
    list.classList.toggle("wide", wide);
    list.replaceChildren(...items.map((item) => {
      const fill = element("span", { class: "fill" });
      const share = Math.min(1, Math.abs(item.value) / limit) * (signed ? 50 : 100);
      fill.style.width = `${share}%`;
      if (signed) fill.style.marginLeft = `${item.value < 0 ? 50 - share : 50}%`;
      fill.style.background = `var(--${item.hue ?? hue})`;
      return element("li", { class: item.faded ? "faded" : "" },
        element("span", { class: "bar-label", text: item.label }),
        element("span", { class: "track", "aria-hidden": "true" }, fill),
        element("span", { class: "bar-value", text: item.text ?? format(item.value) }));
    }));
    return list;
  }

  /** Token chips. tokens: strings; pinned: index; onPick(index) makes them buttons; shade:
   *  0 … 1 for each, in `hue`; notes: a small second line for each. */
  function chips(box, { label, tokens, pinned = -1, onPick = null, shade = null, hue = "attention", notes = null }) {
    const group = keep(box, "chips", () => element("div", { class: "chips", role: "group" }));
    group.setAttribute("aria-label", label);
    while (group.children.length > tokens.length) group.lastChild.remove();
    while (group.children.length < tokens.length) group.append(makeChip(group, onPick));
    group.pick = onPick;
    tokens.forEach((token, i) => {
      const chip = group.children[i], [text, note] = chip.children;
      text.textContent = token;
      note.textContent = notes?.[i] ?? "";
      note.hidden = !notes;
      if (onPick) chip.setAttribute("aria-pressed", String(i === pinned));
      chip.classList.toggle("pinned", i === pinned);
      const depth = shade ? Math.round(Math.max(0, Math.min(1, shade[i])) * 45) : 0; // the text stays legible
      chip.classList.toggle("shaded", depth > 0);
      chip.style.background = depth ? `color-mix(in srgb, var(--${hue}-fill) ${depth}%, var(--paper))` : "";
    });
    return group;
  }

  function makeChip(group, onPick) {
    const inner = [element("span", { class: "chip-text" }), element("span", { class: "chip-note" })];
    if (!onPick) return element("span", { class: "chip" }, ...inner);
    const chip = element("button", { class: "chip", type: "button" }, ...inner);
    chip.addEventListener("click", () => group.pick([...group.children].indexOf(chip)));
    return chip;
  }

  /** A number for the eye: three significant digits, real minus sign. */
  function format(value, digits = 3) {
    if (value === 0) return "0";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    const size = Math.abs(value);
    const short = size.toPrecision(digits);
    const text = size < 1e-3 || size >= 1e6 ? size.toExponential(digits - 1).replace("e", "·10^")
      : size >= 1000 || short.includes("e") ? Math.round(size).toLocaleString("en-US") : short;
    return (value < 0 ? "−" : "") + text.replace(/\^([+-]?\d+)/, (_, power) => superscript(power));
  }

  /** With so many digits after the point. */
  const decimals = (value, digits) => value.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", "−");

  function superscript(power) {
    return power.replace("+", "").replace(/[-\d]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
  }

  function percent(p) {
    return p >= 0.9995 ? "100 %" : p >= 0.1 ? `${(100 * p).toFixed(1)} %`
      : p >= 0.0001 ? `${(100 * p).toFixed(2)} %` : p === 0 ? "0 %" : "< 0.01 %";
  }

  const shorten = (text, length = 9) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

  Object.assign(Page, { element, svg, slot, keep, widthOf, readout, subtitle, bars, chips, format, decimals, percent, shorten });
})();
