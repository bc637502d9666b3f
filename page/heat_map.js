// A table of numbers as coloured cells. Up to 32 × 32 it is SVG, above that a canvas. Arrow
// keys move over the cells, Enter picks one, and a line of text says what the cell holds.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, svg, keep, shorten } = Page;
  const SMALL = 32;

  /** options: {label, rows, columns, values, rowLabels, columnLabels, hue, diverging, max,
   *  texts (one for each cell), cell, cellHeight, describe(r, c), onMove(r, c), onSelect(r, c), selected: [r, c]}.
   *  A value that is NaN is an empty cell (masked). */
  function heatMap(box, options) {
    const map = keep(box, "heat map", () => makeMap());
    Object.assign(map.state, { cursor: map.state.cursor ?? [0, 0] }, { options });
    const { rows, columns } = options;
    const [r, c] = map.state.cursor;
    map.state.cursor = [Math.min(r, rows - 1), Math.min(c, columns - 1)];
    map.frame.setAttribute("aria-label", `${options.label}. Heat map of ${rows} by ${columns} cells; arrow keys move.`);
    paint(map, layout(box, options));
    showCursor(map, false);
    scrollTo(map, box);
    return map;
  }

  function makeMap() {
    const frame = element("div", { class: "heat-frame", tabindex: "0", role: "group", "aria-roledescription": "heat map" });
    const text = element("p", { class: "cell-readout", "aria-live": "off" });
    const map = element("div", { class: "heat-map" }, element("div", { class: "scroll" }, frame), text);
    Object.assign(map, { frame, text, state: {} });
    frame.addEventListener("keydown", (event) => onKey(map, event));
    frame.addEventListener("pointermove", (event) => onPointer(map, event, false));
    frame.addEventListener("pointerleave", () => showCursor(map, document.activeElement === frame));
    frame.addEventListener("click", (event) => onPointer(map, event, true));
    frame.addEventListener("focus", () => showCursor(map, true));
    return map;
  }

  function layout(box, { rows, columns, rowLabels, columnLabels, cell, cellHeight, texts }) {
    const room = Math.min(Page.widthOf(box), 720);
    const left = rowLabels ? 78 : 0, top = columnLabels ? 66 : 0;
    const small = Boolean(texts) || (rows <= SMALL && columns <= SMALL);
    const right = columnLabels ? 30 : 0; // the last label leans over its column
    const fit = Math.floor((room - left - right - 2) / columns);
    const width = cell ?? Math.max(small ? 10 : 2, Math.min(30, fit));
    return { left, right, top, small, width, height: cellHeight ?? width };
  }

  function shade(value, { hue = "attention", diverging, max }) {
    const depth = Math.min(1, Math.abs(value) / (max || 1));
    return { hue: diverging && value < 0 ? "negative" : hue, depth: Number.isNaN(depth) ? -1 : depth };
  }

  /** Draws everything again, or only recolours the cells where nothing else has changed. */
  function paint(map, place) {
    const { rows, columns, rowLabels, columnLabels, texts } = map.state.options;
    const shape = JSON.stringify([rows, columns, rowLabels, columnLabels, texts, place]);
    if (shape === map.state.shape && place.small) return recolour(map);
    Object.assign(map.state, { shape, place });
    const width = place.left + columns * place.width + place.right, height = place.top + rows * place.height;
    const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    picture.append(...labels(map.state.options, place));
    map.cursorMark = svg("rect", { class: "cursor", width: place.width, height: place.height, hidden: true });
    map.frame.style.width = `${width}px`;
    map.cells = place.small ? cells(map.state.options, place) : [];
    map.selection = svg("rect", { class: "selected", width: place.width, height: place.height });
    recolour(map);
    picture.append(...map.cells, ...cellTexts(map.state.options, place), map.selection, map.cursorMark);
    map.frame.replaceChildren(...(place.small ? [] : [canvas(map.state.options, place)]), picture);
    return undefined;
  }

  function labels({ rowLabels = [], columnLabels = [] }, place) {
    const out = [];
    rowLabels.forEach((text, r) => {
      if (r % labelStep(place.height)) return;
      out.push(svg("text", { x: place.left - 6, y: place.top + (r + 0.5) * place.height,
        class: "row-label", text: shorten(text) }));
    });
    columnLabels.forEach((text, c) => {
      if (c % labelStep(place.width)) return;
      const x = place.left + (c + 0.5) * place.width, y = place.top - 6;
      out.push(svg("text", { x, y, class: "column-label", transform: `rotate(-60 ${x} ${y})`, text: shorten(text) }));
    });
    return out;
  }

  /** Where the map is wider than its box, show the selected column. */
  function scrollTo(map, box) {
    const { place: { left, width, right }, options: { selected, columns } } = map.state, room = Page.widthOf(box);
    if (selected && left + columns * width + right > room) map.firstChild.scrollLeft = left + (selected[1] + 1) * width - room;
  }

  const labelStep = (size) => Math.max(1, Math.ceil(13 / size));

  function cells({ rows, columns }, place) {
    return Array.from({ length: rows * columns }, (_, i) => svg("rect", {
      x: place.left + (i % columns) * place.width + 0.5, y: place.top + Math.floor(i / columns) * place.height + 0.5,
      width: Math.max(1, place.width - 1), height: Math.max(1, place.height - 1), rx: 2,
    }));
  }

  function recolour(map) {
    const { cells: rects, state: { options } } = map;
    const strongest = options.texts ? 0.5 : 0.96; // text in a cell stays legible
    rects.forEach((rect, i) => {
      const { hue, depth } = shade(options.values[i], options), masked = depth < 0;
      rect.setAttribute("class", masked ? "cell masked" : "cell");
      rect.setAttribute("fill", masked ? "none" : `var(--${hue}-fill)`);
      rect.setAttribute("fill-opacity", masked ? 1 : (0.04 + strongest * depth).toFixed(3));
    });
    select(map);
  }

  function cellTexts({ texts: all = [], columns }, { left, top, width, height }) {
    return all.map((text, i) => svg("text", { x: left + (i % columns + 0.5) * width,
      y: top + (Math.floor(i / columns) + 0.5) * height, class: "cell-text", text: shorten(text, Math.floor(width / 8)) }));
  }

  function select({ selection, state: { options: { selected }, place } }) {
    selection.toggleAttribute("hidden", !selected);
    if (!selected) return;
    selection.setAttribute("x", place.left + selected[1] * place.width);
    selection.setAttribute("y", place.top + selected[0] * place.height);
  }

  function canvas(options, { left, top, width, height }) {
    const { rows, columns } = options;
    const node = element("canvas", { width: columns, height: rows, "aria-hidden": "true" });
    node.style.left = `${left}px`;
    node.style.top = `${top}px`;
    node.style.width = `${columns * width}px`;
    node.style.height = `${rows * height}px`;
    fillCanvas(node, options);
    return node;
  }

  /** One pixel a cell; the browser enlarges it. options: {values, offset, hue, diverging, max}. */
  function fillCanvas(node, options) {
    const context = node.getContext("2d"), { width, height } = node;
    const image = context.createImageData(width, height);
    const { values, offset = 0, hue = "attention", diverging, max } = options, { data } = image;
    const [positive, negative] = [colour(hue), colour(diverging ? "negative" : hue)];
    for (let i = 0; i < width * height; i++) {
      const value = values[offset + i], [red, green, blue] = value < 0 ? negative : positive;
      data[4 * i] = red;
      data[4 * i + 1] = green;
      data[4 * i + 2] = blue;
      data[4 * i + 3] = Number.isNaN(value) ? 0 : 10 + 245 * Math.min(1, Math.abs(value) / (max || 1)); // NaN: masked
    }
    context.putImageData(image, 0, 0);
  }

  const colours = new Map();

  /** [red, green, blue] of a hue as the present theme has it, looked up once. */
  function colour(hue) {
    const key = `${hue} ${Page.isDark()}`;
    if (!colours.has(key)) colours.set(key, readColour(hue));
    return colours.get(key);
  }

  function readColour(hue) {
    const probe = Page.keep(document.body, "colour probe", () => element("span", { hidden: true }));
    probe.style.color = `var(--${hue}-fill)`;
    return getComputedStyle(probe).color.match(/\d+/g).slice(0, 3).map(Number);
  }

  function cellAt(map, event) {
    const { left, top, width, height } = map.state.place, { rows, columns } = map.state.options;
    const area = map.frame.getBoundingClientRect();
    const c = Math.floor((event.clientX - area.left - left) / width);
    const r = Math.floor((event.clientY - area.top - top) / height);
    return r >= 0 && r < rows && c >= 0 && c < columns ? [r, c] : null;
  }

  function onPointer(map, event, picks) {
    const cell = cellAt(map, event);
    if (!cell) return;
    moveTo(map, cell);
    if (picks) map.state.options.onSelect?.(...cell);
  }

  function onKey(map, event) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const { rows, columns, onSelect } = map.state.options, [r, c] = map.state.cursor;
    if (step) {
      moveTo(map, [Math.max(0, Math.min(rows - 1, r + step[0])), Math.max(0, Math.min(columns - 1, c + step[1]))]);
    } else if ((event.key === "Enter" || event.key === " ") && onSelect) onSelect(r, c);
    else return;
    event.preventDefault();
  }

  function moveTo(map, cell) {
    const [r, c] = map.state.cursor;
    const same = r === cell[0] && c === cell[1] && !map.cursorMark.hasAttribute("hidden");
    map.state.cursor = cell;
    if (same) return;
    showCursor(map, true);
    map.state.options.onMove?.(...cell);
  }

  function showCursor(map, visible) {
    const { left, top, width, height } = map.state.place, [r, c] = map.state.cursor;
    map.cursorMark.toggleAttribute("hidden", !visible);
    map.cursorMark.setAttribute("x", left + c * width);
    map.cursorMark.setAttribute("y", top + r * height);
    const text = map.state.options.describe?.(r, c) ?? "";
    // spoken while a reader moves over the map, not whenever the prompt changes
    map.text.setAttribute("aria-live", document.activeElement === map.frame ? "polite" : "off");
    if (map.text.textContent !== text) map.text.textContent = text;
  }

  Object.assign(Page, { heatMap, fillCanvas });
})();
