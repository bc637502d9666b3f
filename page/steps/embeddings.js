// Step 1: the pinned token's embedding, similar tokens, positions, and what order means.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const local = { positions: true, seed: 1 };
  let slots, asks;

  function mount(root, state) {
    slots = Object.fromEntries(["row", "neighbours", "positions", "order"].map((name) => [name, Page.slot(root, name)]));
    asks = {
      neighbours: Page.request(slots.neighbours, state, { task: "neighbours", draw: (found, { id }) => {
        showRow(state, id, found.row);
        showNeighbours(state, id, found);
      } }),
      positions: Page.request(slots.positions, state, { task: "positions", draw: (values, { T }) => showPositions(state, values, T) }),
      order: Page.request(slots.order, state, { task: "order", turns: true, draw: (effect, { other }) => showOrder(state, effect, other) }),
    };
    const box = Page.controls(slots.order);
    Page.toggle(box, { label: "Positions on", checked: true, onChange: (on) => { local.positions = on; askOrder(state); } });
    Page.button(box, { label: "Shuffle again", onClick: () => { local.seed++; askOrder(state); } });
  }

  function render(state, change) {
    asks.neighbours.offer({ id: state.ids[state.pinned], count: 8 });
    if (change !== "pin") {
      const { max_seq_len } = state.model.config;
      asks.positions.offer({ T: Math.min(max_seq_len, Math.max(2, state.ids.length)) });
      askOrder(state);
    }
  }

  function askOrder({ ids }) {
    asks.order.offer({ ids, other: shuffled(ids, local.seed), lesson: { positions: local.positions } });
  }

  function showRow(state, id, row) {
    const { d_model: D } = state.model.config;
    const columns = Math.min(D, 64), rows = Math.ceil(D / columns);
    const values = new Float32Array(rows * columns).fill(NaN);
    values.set(row);
    Page.heatMap(slots.row, {
      label: `Embedding of ${state.tokenizer.show(id)}`, rows, columns, values, hue: "residual", diverging: true,
      cellHeight: 18, max: state.steady("row", Math.max(...row.map(Math.abs))),
      describe: (r, c) => (r * columns + c < D ? `Column ${r * columns + c}: ${Page.format(row[r * columns + c])}` : ""),
    });
  }

  function showNeighbours({ tokenizer }, id, { best, cosines, mean }) {
    const items = best.map((v, i) => ({ label: tokenizer.show(v), value: cosines[i], text: cosines[i].toFixed(3), hue: "residual" }));
    Page.bars(slots.neighbours, { label: `Tokens most similar to ${tokenizer.show(id)}, by cosine`, items, max: 1 });
    Page.readout(slots.neighbours, `Nearest to ${tokenizer.show(id)} is ${items[0].label} with cosine ${items[0].text}; `
      + `over all tokens the mean is ${mean.toFixed(3).replace("-", "−")}.`);
  }

  function showPositions({ model }, values, T) {
    const box = Page.keep(slots.positions, "map", () => Page.element("div"));
    box.hidden = values === null;
    if (!values) {
      return Page.readout(slots.positions, "This model adds no vector for the position, so there is nothing to compare here: "
        + "its positions are rotary. In each block, queries and keys are turned by an angle that grows with their position.");
    }
    const labels = Array.from({ length: T }, (_, t) => String(t));
    Page.heatMap(box, {
      label: "Dot products of positions", rows: T, columns: T, values, hue: "position", diverging: true,
      max: Math.max(...values.map(Math.abs)), rowLabels: labels, columnLabels: labels,
      describe: (p, q) => `PE(${p}) · PE(${q}) = ${Page.format(values[p * T + q])}, distance ${Math.abs(p - q)}`,
    });
    return Page.readout(slots.positions, describePositions(model.config, values, T));
  }

  function describePositions({ d_model: D, max_seq_len, variant }, values, T) {
    const far = Math.min(8, T - 1), [none, one, more] = [0, 1, far].map((distance) => Page.format(values[distance] ?? NaN));
    if (variant.positions === "learned") {
      return `This model learned its ${max_seq_len.toLocaleString("en-US")} position vectors, so nothing makes their products depend on the distance alone: `
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

  function showOrder(state, { change, size }, other) {
    const { model, tokenizer, ids } = state;
    const none = change < 1e-5 * Math.max(1, size);
    Page.chips(slots.order, { label: "The shuffled prompt", tokens: other.map((id) => tokenizer.show(id)) });
    Page.bars(slots.order, {
      label: "Change of the first block's attention at the last position", max: state.steady("order", size),
      items: [
        { label: "its output", value: size, hue: "attention", text: Page.format(size) },
        { label: "the change", value: change, hue: "position", text: none ? "0" : Page.format(change) },
      ],
    });
    const { window } = model.config.variant, sees = window ?? Infinity;
    if (other.every((id, t) => id === ids[t])) {
      return Page.readout(slots.order, "The order is the same: the last token needs two different ones before it, or another shuffle.");
    }
    const verdict = none ? "no more than rounding: the first block sees an unordered bag of tokens."
      : local.positions || sees >= ids.length ? "so the first block can tell the orders apart."
        : `because this model's attention has a window: the last token sees the last ${window} tokens only, and they are others now.`;
    return Page.readout(slots.order, `Positions are ${local.positions ? "on" : "off"}. The largest change of any of the `
      + `${model.config.d_model} outputs is ${Page.format(change, 2)}, ${verdict}`);
  }

  Object.assign(Page, { shuffled });
  Page.step("embeddings", { mount, render });
})();
