// Step 4: neurons on the GELU curve, and what one of them does.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const local = { layer: 0, neuron: null };
  let slots, layers, shape = 0;

  function mount(root, state) {
    slots = Object.fromEntries(["curve", "neurons", "silenced"].map((name) => [name, Page.slot(root, name)]));
    layers = Page.choice(Page.controls(slots.curve), { label: "Block", options: [], onChange: (layer) => {
      Object.assign(local, { layer, neuron: null });
      show(state);
    } });
  }

  function render(state, change) {
    const { n_layers, d_ff } = state.model.config;
    if (change === "model") {
      if (shape !== n_layers) layers.fill(Array.from({ length: n_layers }, (_, i) => ({ value: i, label: String(i) })));
      shape = n_layers;
      local.layer = Math.min(local.layer, n_layers - 1);
      layers.set(local.layer);
    }
    if (change !== "theme" || local.neuron >= d_ff) local.neuron = null;
    show(state);
  }

  function show(state) {
    const F = state.model.config.d_ff, name = `blocks.${local.layer}.feed_forward`;
    const activations = state.trace.row(`${name}.activations`, state.pinned);
    local.neuron ??= strongest(state, activations)[0];
    showCurve(state, activations);
    showNeurons(state, activations, F);
    showSilenced(state, activations);
  }

  /** What goes into the curve: W₁ · LayerNorm(x) + b₁ at the pinned position, or its variant. */
  function inputs(state) {
    const block = state.model.blocks[local.layer];
    const x = state.trace.row(`blocks.${local.layer}.residual_middle`, state.pinned);
    return block.feedForward.sums(block.feedForwardNorm(x, { T: 1, lesson: {} }), 1);
  }

  function showCurve(state, activations) {
    const z = inputs(state), low = Math.min(-3, ...z), high = Math.max(3, ...z);
    const { name, at } = state.model.blocks[local.layer].feedForward.curve;
    const line = Array.from({ length: 81 }, (_, i) => low + ((high - low) * i) / 80).map((v) => [v, at(v)]);
    const heights = [...line.map(([, y]) => y), ...activations]; // of the dots too, which may be off the curve
    const gated = state.model.config.variant.feed_forward === "swiglu";
    Page.linePlot(slots.curve, {
      label: `Neurons on the ${name} curve`, x: "input z", y: gated ? `${name}(z) · u` : `${name}(z)`, height: 240,
      yMin: Math.min(...heights), yMax: Math.max(...heights), series: [{ name, points: line, hue: "neutral" }],
      points: Array.from(z, (v, i) => ({ x: v, y: activations[i], hue: "feed-forward" })),
    });
    const firing = z.filter((v) => v > 0).length, strong = activations.filter((a) => a > 0.5).length;
    Page.readout(slots.curve, `Block ${local.layer} at ${state.tokenizer.show(state.ids[state.pinned])}: of ${z.length} neurons `
      + `${firing} have a positive input (${Page.percent(firing / z.length)}), ${strong} fire above 0.5 (${Page.percent(strong / z.length)}).${unlikeGelu(name, gated)}`);
  }

  function unlikeGelu(name, gated) {
    if (gated) return " This model has SwiGLU: the curve is only the gate, and what passes is SiLU(z) times a second sum u, so the dots are not on it.";
    return name === "GELU" ? "" : ` This model's curve is ${name}, not GELU.`;
  }

  /** Neurons by how much they write: |activation| · length of their column of W₂. */
  function strongest({ model }, activations) {
    const F = model.config.d_ff, weight = model.parameters.get(`blocks.${local.layer}.feed_forward.contract.weight`).data;
    const squares = new Float64Array(F);
    for (let i = 0; i < weight.length; i++) squares[i % F] += weight[i] ** 2;
    return Page.largest(squares.map((sum, n) => Math.abs(activations[n]) * Math.sqrt(sum)), 8);
  }

  function showNeurons(state, activations, F) {
    const columns = Math.min(F, 32), rows = Math.ceil(F / columns);
    const values = new Float32Array(rows * columns).fill(NaN);
    values.set(activations);
    const pick = (neuron) => { local.neuron = neuron; show(state); };
    const top = strongest(state, activations);
    Page.subtitle(slots.neurons, "Those that write most");
    Page.chips(slots.neurons, {
      label: "Neurons that write most; press one to silence it", tokens: top.map((n) => `#${n}`),
      notes: top.map((n) => Page.format(activations[n])), pinned: top.indexOf(local.neuron), onPick: (i) => pick(top[i]),
    });
    Page.subtitle(slots.neurons, "All of them");
    Page.heatMap(slots.neurons, {
      label: `Activations of ${F} neurons; press Enter to silence one`, rows, columns, values, hue: "feed-forward", diverging: true,
      max: Math.max(...activations.map(Math.abs)), selected: [Math.floor(local.neuron / columns), local.neuron % columns],
      describe: (r, c) => (r * columns + c < F ? `Neuron ${r * columns + c}: ${Page.format(activations[r * columns + c])}` : ""),
      onSelect: (r, c) => { if (r * columns + c < F) pick(r * columns + c); },
    });
  }

  /** Logits at position t with one neuron of a block held at zero everywhere. */
  function silence(model, ids, layer, neuron, t) {
    const tap = (name, values, [T, F]) => {
      if (name !== `blocks.${layer}.feed_forward.activations`) return undefined;
      const out = values.slice();
      for (let row = 0; row < T; row++) out[row * F + neuron] = 0;
      return out;
    };
    return model.forward(ids.slice(0, t + 1), { tap, logits: "last" });
  }

  function showSilenced(state, activations) {
    const { model, ids, pinned, tokenizer } = state;
    const before = Page.softmax(state.trace.logits(pinned));
    const after = Page.softmax(silence(model, ids, local.layer, local.neuron, pinned));
    compareBars(slots.silenced, tokenizer, before, after, "feed-forward");
    const moved = Page.largest(before.map((p, v) => Math.abs(p - after[v])), 1)[0];
    Page.readout(slots.silenced, `Neuron ${local.neuron} of block ${local.layer} (activation ${Page.format(activations[local.neuron])} at the pinned token) held at zero: `
      + `the probability that moves most is that of ${tokenizer.show(moved)}, from ${Page.percent(before[moved])} to ${Page.percent(after[moved])}.`);
  }

  /** The five likeliest tokens before and after a change, in pairs of bars. */
  function compareBars(box, tokenizer, before, after, hue) {
    const items = Page.largest(before.map((p, v) => Math.max(p, after[v])), 5).flatMap((v) => [
      { label: tokenizer.show(v), value: before[v], text: Page.percent(before[v]), hue: "probability" },
      { label: "… changed", value: after[v], text: Page.percent(after[v]), hue },
    ]);
    Page.bars(box, { label: "Probability of the next token, as it is and changed", items, max: 1 });
  }

  Object.assign(Page, { silence, compareBars });
  Page.step("feed_forward", { mount, render });
})();
