// Step 4: neurons on the GELU curve, and what one of them does.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const local = { layer: 0, neuron: null };
  let slots, layers, asks, role, shape = 0, found = null;

  function mount(root, state) {
    slots = Object.fromEntries(["curve", "neurons", "silenced"].map((name) => [name, Page.slot(root, name)]));
    role = Page.neuronRole(Page.slot(root, "neuron-role"), state, local, (neuron) => pick(state, neuron));
    asks = {
      neurons: Page.request(slots.curve, state, { task: "neurons", draw: (found) => showLayer(state, found) }),
      silence: Page.request(slots.silenced, state, { task: "silence", label: "Silence the neuron", turns: true,
        draw: (logits) => showSilenced(state, logits) }),
    };
    layers = Page.choice(Page.controls(slots.curve), { label: "Block", options: [], onChange: (layer) => {
      Object.assign(local, { layer, neuron: null });
      show(state);
    } });
  }

  function render(state, change) {
    const { n_layers, d_ff } = state.model.config;
    if (change === "theme" || change === "resize") return drawAgain(state);
    if (change === "model") {
      if (shape !== n_layers) layers.fill(Array.from({ length: n_layers }, (_, i) => ({ value: i, label: String(i) })));
      shape = n_layers;
      local.layer = Math.min(local.layer, n_layers - 1);
      layers.set(local.layer);
    }
    if (!["frame", "rest"].includes(change) || local.neuron >= d_ff) local.neuron = null;
    role.render(change);
    show(state);
  }

  function show(state) {
    found = null;
    asks.neurons.offer({ layer: local.layer, position: state.pinned, count: 8 });
  }

  function pick(state, neuron) {
    local.neuron = neuron;
    show(state);
  }

  const activationsOf = ({ trace, pinned }) => trace.row(`blocks.${local.layer}.feed_forward.activations`, pinned);

  function showLayer(state, answer) {
    found = answer;
    local.neuron ??= found.strongest[0];
    drawAgain(state);
    asks.silence.offer({ ids: state.ids, layer: local.layer, neuron: local.neuron, position: state.pinned });
  }

  /** In other colours, or at another width; what the model answered stays. */
  function drawAgain(state) {
    if (!found) return;
    showCurve(state, found.sums);
    showNeurons(state, found.strongest);
    role.draw();
  }

  function showCurve(state, z) {
    const activations = activationsOf(state);
    const low = -state.steady("low z", Math.max(3, ...z.map((v) => -v))), high = state.steady("high z", Math.max(3, ...z));
    const { name, at } = state.model.blocks[local.layer].feedForward.curve;
    const line = Array.from({ length: 81 }, (_, i) => low + ((high - low) * i) / 80).map((v) => [v, at(v)]);
    const heights = [...line.map(([, y]) => y), ...activations]; // of the dots too, which may be off the curve
    const gated = state.model.config.variant.feed_forward === "swiglu";
    Page.linePlot(slots.curve, {
      label: `Neurons on the ${name} curve`, x: "input z", y: gated ? `${name}(z) · u` : `${name}(z)`, height: 240,
      yMin: -state.steady("low y", -Math.min(...heights)), yMax: state.steady("high y", Math.max(...heights)), series: [{ name, points: line, hue: "neutral" }],
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

  function showNeurons(state, top) {
    const activations = activationsOf(state), F = activations.length;
    const columns = Math.min(F, F > 1024 ? 64 : 32), rows = Math.ceil(F / columns);
    const values = new Float32Array(rows * columns).fill(NaN);
    values.set(activations);
    Page.subtitle(slots.neurons, "Those that write most");
    Page.chips(slots.neurons, {
      label: "Neurons that write most; press one to silence it", tokens: top.map((n) => `#${n}`),
      notes: top.map((n) => Page.format(activations[n])), pinned: top.indexOf(local.neuron), onPick: (i) => pick(state, top[i]),
    });
    Page.subtitle(slots.neurons, "All of them");
    Page.heatMap(slots.neurons, {
      label: `Activations of ${F} neurons; press Enter to silence one`, rows, columns, values, hue: "feed-forward", diverging: true,
      max: state.steady("activations", Math.max(...activations.map(Math.abs))), selected: [Math.floor(local.neuron / columns), local.neuron % columns],
      describe: (r, c) => (r * columns + c < F ? `Neuron ${r * columns + c}: ${Page.format(activations[r * columns + c])}` : ""),
      onSelect: (r, c) => { if (r * columns + c < F) pick(state, r * columns + c); },
    });
  }

  function showSilenced(state, logits) {
    const { pinned, tokenizer } = state, activations = activationsOf(state);
    const before = Page.softmax(state.trace.logits(pinned)), after = Page.softmax(logits);
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

  Object.assign(Page, { compareBars });
  Page.step("feed_forward", { mount, render });
})();
