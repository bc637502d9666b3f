// The picture at the top: the whole model on the prompt, each station with its real values in small.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element } = Page;
  const WIDE = matchMedia("(min-width: 750px)"); // as in style_flow.css
  const CHIPS = 5, ROWS = 32; // tokens shown by name, and as rows of a picture
  let fold, road, slot, pictures;

  function mount(root, state) {
    [fold, road, slot] = [root.querySelector("details"), root.querySelector("ol"), Page.slot(root, "flow")];
    pictures = Object.fromEntries([...road.children].map((station) => {
      const picture = element("div", { class: "picture", "aria-hidden": "true" });
      station.append(picture);
      return [station.dataset.station, picture];
    }));
    fold.open = WIDE.matches;
    WIDE.addEventListener("change", () => { fold.open = WIDE.matches; });
    fold.addEventListener("toggle", () => draw(state));
  }

  function render(state) {
    draw(state);
    tell(state);
  }

  function draw(state) {
    if (!fold.open) return;
    drawTokens(state);
    drawVectors(state);
    drawHeads(pictures.attention, state);
    drawNeurons(pictures["feed-forward"], state, 0);
    const more = drawBlocks(state);
    drawNext(state);
    drawRoad(state, more);
  }

  /** The pinned token and what is before it, as much as there is room for: [from, to). */
  function span({ ids, pinned }, room) {
    const to = Math.max(pinned + 1, Math.min(ids.length, room));
    return [Math.max(0, to - room), to];
  }

  function drawTokens(state) {
    const [from, to] = span(state, CHIPS), left = state.ids.length - to;
    const note = (name, count, text) => {
      const line = Page.keep(pictures.tokens, name, () => element("span", { class: "left-out" }));
      line.textContent = count ? `${count} ${text}` : "";
    };
    note("before", from, "before");
    Page.chips(pictures.tokens, { label: "Tokens", tokens: state.shown().slice(from, to), pinned: state.pinned - from });
    note("after", left, "after");
  }

  /** One canvas with a pixel for each value. */
  function paint(box, width, height, options) {
    const canvas = Page.keep(box, "canvas", () => element("canvas"));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    Page.fillCanvas(canvas, options);
  }

  const peak = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

  function drawVectors(state) {
    const { d_model: D } = state.model.config, [from, to] = span(state, ROWS);
    const values = state.trace.get("embedding").subarray(from * D, to * D);
    paint(pictures.vectors, D, to - from, { values, hue: "residual", diverging: true, max: state.steady("flow vectors", peak(values)) });
    const mark = Page.keep(pictures.vectors, "mark", () => element("span", { class: "mark" }));
    mark.style.top = `${(100 * (state.pinned - from)) / (to - from)}%`;
    mark.style.height = `${100 / (to - from)}%`;
  }

  /** Weights of one head, or their mean over all heads, for the tokens that are shown. */
  function weightsOf({ trace, model, ids }, layer, heads, [from, to]) {
    const all = trace.get(`blocks.${layer}.attention.weights`), T = ids.length, n = to - from;
    const out = new Float32Array(n * n);
    for (const head of heads) {
      for (let i = 0; i < n * n; i++) {
        out[i] += all[(head * T + from + Math.floor(i / n)) * T + from + (i % n)] / heads.length;
      }
    }
    return out;
  }

  /** The heads of block 0 side by side, with a pixel of room between them. */
  function drawHeads(box, state) {
    const { n_heads: H } = state.model.config, shown = span(state, ROWS), n = shown[1] - shown[0];
    const columns = Math.ceil(Math.sqrt(H)), width = columns * (n + 1) - 1, height = Math.ceil(H / columns) * (n + 1) - 1;
    const values = new Float32Array(width * height).fill(NaN);
    for (let head = 0; head < H; head++) {
      const weights = weightsOf(state, 0, [head], shown), corner = Math.floor(head / columns) * (n + 1) * width + (head % columns) * (n + 1);
      for (let t = 0; t < n; t++) values.set(weights.subarray(t * n, (t + 1) * n), corner + t * width);
    }
    paint(box, width, height, { values, max: 0.6, hue: "attention" });
  }

  function drawMean(box, state, layer) {
    const shown = span(state, ROWS), n = shown[1] - shown[0];
    const heads = Array.from({ length: state.model.config.n_heads }, (_, head) => head);
    paint(box, n, n, { values: weightsOf(state, layer, heads, shown), max: 0.6, hue: "attention" });
  }

  /** Nearly as many columns as rows, all of them full if that can be. */
  function columnsOf(count) {
    const least = Math.ceil(Math.sqrt(count));
    for (let columns = least; columns <= 2 * least; columns++) if (count % columns === 0) return columns;
    return least;
  }

  /** What the neurons of a block give for the pinned token, row after row. */
  function drawNeurons(box, { trace, pinned, model }, layer) {
    const activations = trace.row(`blocks.${layer}.feed_forward.activations`, pinned);
    const columns = columnsOf(model.config.d_ff), rows = Math.ceil(activations.length / columns);
    const values = new Float32Array(columns * rows).fill(NaN);
    values.set(activations);
    paint(box, columns, rows, { values, hue: "feed-forward", diverging: true, max: peak(activations) });
  }

  /** The blocks after the first, as many as there is room for, and a gap
   *  for the others: [{node, layer: the last one in it, hue}]. */
  function drawBlocks(state) {
    const { n_layers: L } = state.model.config, box = pictures.blocks;
    const room = WIDE.matches ? Math.max(2, Math.floor((Page.widthOf(box) + 6) / 43)) : 4;
    const all = Array.from({ length: L - 1 }, (_, i) => i + 1);
    const layers = all.length <= room ? all : [...all.slice(0, room - 1), L - 1];
    box.parentNode.hidden = L === 1;
    if (box.shape !== layers.join()) {
      box.shape = layers.join();
      box.replaceChildren(...layers.map((layer) => element("div", { class: "small-block", "data-layer": layer },
        element("div", { class: "mean" }), element("div", { class: "neurons" }), element("span", { text: `block ${layer}` }))));
      if (layers.length < all.length) box.lastChild.before(element("span", { class: "left-out", text: "…" }));
    }
    return [...box.children].map((node) => {
      if (node.matches(".left-out")) return { node, layer: L - 2 };
      const layer = Number(node.dataset.layer);
      drawMean(node.children[0], state, layer);
      drawNeurons(node.children[1], state, layer);
      return { node, layer, hue: "neutral" };
    });
  }

  /** The five likeliest next tokens: [{token, p}]. */
  function likeliest({ trace, pinned, tokenizer }) {
    const p = Page.softmax(trace.logits(pinned));
    return Page.largest(p, 5).map((v) => ({ token: tokenizer.show(v), p: p[v] }));
  }

  function drawNext(state) {
    const items = likeliest(state).map(({ token, p }) => ({ label: token, value: p, text: Page.percent(p) }));
    Page.bars(pictures.next, { label: "Likeliest next tokens", max: 1, items });
  }

  function drawRoad(state, more) {
    const [start, middle, ...after] = Page.streamLengths(state, state.pinned), longest = Math.max(start, middle, ...after);
    const parts = [{ node: pictures.attention, hue: "attention", length: middle },
      { node: pictures["feed-forward"], hue: "feed-forward", length: after[0] },
      ...more.map(({ node, layer, hue }) => ({ node, hue, length: after[layer] }))];
    Page.drawStream(road, { wide: WIDE.matches, parts, start, longest: state.steady("flow stream", longest),
      tokens: pictures.tokens, vectors: pictures.vectors, next: pictures.next });
  }

  function tell(state) {
    const { ids, pinned, model, trace } = state, shown = state.shown(), L = model.config.n_layers;
    const lengths = Page.streamLengths(state, pinned), [best] = likeliest(state), T = ids.length;
    const weights = trace.get("blocks.0.attention.weights"), row = (h) => weights.subarray((h * T + pinned) * T, (h * T + pinned + 1) * T);
    const tops = Array.from({ length: model.config.n_heads }, (_, h) => Page.largest(row(h), 1)[0]);
    const weight = (h) => row(h)[tops[h]], [head] = Page.largest(tops.map((_, h) => weight(h)), 1);
    Page.readout(slot, `${T} ${T === 1 ? "token enters" : "tokens enter"}. From the pinned ${shown[pinned]} (position ${pinned}), head ${head} of block 0 `
      + `looks most at ${shown[tops[head]]} (position ${tops[head]}, ${Page.percent(weight(head))}). The vector of ${shown[pinned]} is ${Page.format(lengths[0])} long before `
      + `the first block and ${Page.format(lengths.at(-1))} after ${L === 1 ? "it" : `all ${L}`}; the likeliest next token is ${best.token} (${Page.percent(best.p)}).`
      + (T > ROWS ? ` Vectors and attention are drawn for ${ROWS} of the tokens.` : ""));
  }

  Page.step("flow", { mount, render });
})();
