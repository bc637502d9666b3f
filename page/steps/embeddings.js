// Step 1: the pinned token's embedding, similar tokens, positions, and what order means.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const local = { positions: true, seed: 1, lengths: null, model: null };
  let slots;

  function mount(root, state) {
    slots = Object.fromEntries(["row", "neighbours", "positions", "order"].map((name) => [name, Page.slot(root, name)]));
    const box = Page.controls(slots.order);
    Page.toggle(box, { label: "Positions on", checked: true, onChange: (on) => { local.positions = on; showOrder(state); } });
    Page.button(box, { label: "Shuffle again", onClick: () => { local.seed++; showOrder(state); } });
  }

  function render(state, change) {
    showRow(state);
    if (change !== "theme") showNeighbours(state);
    if (change !== "pin") {
      showPositions(state);
      showOrder(state);
    }
  }

  function showRow(state) {
    const { d_model: D } = state.model.config, id = state.ids[state.pinned];
    const row = state.model.tokenEmbedding.weight.subarray(id * D, (id + 1) * D);
    const columns = Math.min(D, 64), rows = Math.ceil(D / columns);
    const values = new Float32Array(rows * columns).fill(NaN);
    values.set(row);
    Page.heatMap(slots.row, {
      label: `Embedding of ${state.tokenizer.show(id)}`, rows, columns, values, hue: "residual", diverging: true,
      cellHeight: 18, max: Math.max(...row.map(Math.abs)),
      describe: (r, c) => (r * columns + c < D ? `Column ${r * columns + c}: ${Page.format(row[r * columns + c])}` : ""),
    });
  }

  /** Lengths of all rows, once per model. */
  function rowLengths(model) {
    if (local.model !== model) {
      const { d_model: D, vocab_size: V } = model.config;
      local.lengths = Float32Array.from({ length: V }, (_, v) => Page.norm(model.tokenEmbedding.weight, v * D, D));
      local.model = model;
    }
    return local.lengths;
  }

  function cosines(model, id) {
    const { d_model: D } = model.config, lengths = rowLengths(model);
    const table = model.tokenEmbedding.weight, row = table.subarray(id * D, (id + 1) * D);
    const products = Page.linear(row, 1, table, null, D, model.config.vocab_size);
    return products.map((product, v) => product / (lengths[v] * lengths[id] || 1));
  }

  function showNeighbours({ model, tokenizer, ids, pinned }) {
    const id = ids[pinned], cosine = cosines(model, id);
    cosine[id] = -Infinity;
    const items = Page.largest(cosine, 8).map((v) => ({
      label: tokenizer.show(v), value: cosine[v], text: cosine[v].toFixed(3), hue: "residual",
    }));
    Page.bars(slots.neighbours, { label: `Tokens most similar to ${tokenizer.show(id)}, by cosine`, items, max: 1 });
    const mean = cosine.reduce((sum, value) => sum + (value > -2 ? value : 0), 0) / (cosine.length - 1);
    Page.readout(slots.neighbours, `Nearest to ${tokenizer.show(id)} is ${items[0].label} with cosine ${items[0].text}; `
      + `over all tokens the mean is ${mean.toFixed(3).replace("-", "−")}.`);
  }

  function showPositions({ model, ids }) {
    const { d_model: D, max_seq_len } = model.config, T = Math.min(max_seq_len, Math.max(2, ids.length));
    const table = model.positions.rows(T), box = Page.keep(slots.positions, "map", () => Page.element("div"));
    box.hidden = table === null;
    if (!table) {
      return Page.readout(slots.positions, "This model adds no vector for the position, so there is nothing to compare here: "
        + "its positions are rotary. In each block, queries and keys are turned by an angle that grows with their position.");
    }
    const values = Page.linear(table, T, table, null, D, T); // (T, T)
    const labels = Array.from({ length: T }, (_, t) => String(t));
    Page.heatMap(box, {
      label: "Dot products of positions", rows: T, columns: T, values, hue: "position", diverging: true,
      max: Math.max(...values.map(Math.abs)), rowLabels: labels, columnLabels: labels,
      describe: (p, q) => `PE(${p}) · PE(${q}) = ${Page.format(values[p * T + q])}, distance ${Math.abs(p - q)}`,
    });
    return Page.readout(slots.positions, describePositions(model.config, values, T));
  }

  function describePositions({ d_model: D, variant }, values, T) {
    const far = Math.min(8, T - 1), [none, one, more] = [0, 1, far].map((distance) => Page.format(values[distance] ?? NaN));
    if (variant.positions === "learned") {
      return `This model learned its ${T} position vectors, so nothing makes their products depend on the distance alone: `
        + `from position 0, the product is ${none} with itself${T > 1 ? `, ${one} at a distance of 1 and ${more} at ${far}` : ""}.`;
    }
    const scale = variant.position_scale;
    const product = scale === 1 ? `${D / 2} = D/2` : `${none} = D/2 · ${scale}² (this model multiplies its sinusoids by ${scale})`;
    return `The dot product of a position with itself is ${product}; `
      + (T > 1 ? `at a distance of 1 it is ${one}, at ${far} it is ${more}, wherever you start.` : "this model has no second position.");
  }

  /** The ids with all but the last shuffled by a seed. */
  function shuffled(ids, seed) {
    const out = [...ids], random = Page.random(seed);
    for (let i = out.length - 2; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [out[i], out[j]] = [out[j], out[i]];
    }
    return out;
  }

  /** Output of the first block's attention at the last position. */
  function firstAttention(model, ids, lesson) {
    const first = Page.buildModel({ ...model.config, n_layers: 1 }, model.parameters);
    let output;
    const tap = (name, values) => { if (name === "blocks.0.attention.output") output = values; };
    first.forward(ids, { tap, lesson, logits: "none" });
    return output.slice(-model.config.d_model);
  }

  /** How much that output changes when the order does. */
  function orderEffect(model, ids, other, lesson) {
    const a = firstAttention(model, ids, lesson), b = firstAttention(model, other, lesson);
    return { change: Math.max(...a.map((value, i) => Math.abs(value - b[i]))), size: Math.max(...a.map(Math.abs)) };
  }

  function showOrder({ model, tokenizer, ids }) {
    const other = shuffled(ids, local.seed), lesson = { positions: local.positions };
    const { change, size } = orderEffect(model, ids, other, lesson), none = change < 1e-5 * Math.max(1, size);
    Page.chips(slots.order, { label: "The shuffled prompt", tokens: other.map((id) => tokenizer.show(id)) });
    Page.bars(slots.order, {
      label: "Change of the first block's attention at the last position", max: size,
      items: [
        { label: "its output", value: size, hue: "attention", text: Page.format(size) },
        { label: "the change", value: change, hue: "position", text: none ? "0" : Page.format(change) },
      ],
    });
    const { window } = model.config.variant, sees = window ?? Infinity;
    const verdict = none ? "no more than rounding: the first block sees an unordered bag of tokens."
      : local.positions || sees >= ids.length ? "so the first block can tell the orders apart."
        : `because this model's attention has a window: the last token sees the last ${window} tokens only, and they are others now.`;
    Page.readout(slots.order, `Positions are ${local.positions ? "on" : "off"}. The largest change of any of the `
      + `${model.config.d_model} outputs is ${Page.format(change, 2)}, ${verdict}`);
  }

  Object.assign(Page, { shuffled, orderEffect });
  Page.step("embeddings", { mount, render });
})();
