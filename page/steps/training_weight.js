// Step 7: how one weight learns. Its value goes forward to the loss, the error comes back.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, keep, readout, format } = Page;
  const local = { neuron: null, wire: null, change: 0 };
  let box, ask, slider, wires, found = null;

  function mount(root, state) {
    box = Page.slot(root, "back-propagation");
    const row = Page.controls(box);
    wires = Page.slider(row, { label: "Number of the stream", min: 0, max: 1, value: 0,
      onInput: (wire) => { local.wire = wire; local.change = 0; offer(state); } });
    slider = Page.slider(row, { label: "Change the weight by", min: -6, max: 6, value: 0,
      format: (at) => (found ? signed(found.curve[at + 6][0]) : "0"), onInput: (at) => { local.change = at; draw(state); } });
    ask = Page.request(box, state, { task: "backPropagate", label: "Send the error back", turns: true,
      draw: (answer) => { found = answer; draw(state); } });
  }

  const signed = (value) => (value > 0 ? `+${format(value)}` : format(value));

  function render(state, change) {
    if (change === "theme") return;
    if (change === "resize") return void (found && draw(state));
    if (change !== "frame" && change !== "rest") Object.assign(local, { neuron: null, wire: null, change: 0 });
    offer(state);
  }

  /** The loss needs a next token. Where the pinned one has none, an earlier place is taken. */
  function offer(state) {
    const { ids, pinned } = state, alone = ids.length < 2;
    found = null;
    wires.limit(state.model.config.d_model - 1);
    slider.set(local.change);
    box.classList.toggle("without", alone);
    if (alone) {
      ask.withdraw();
      return void readout(box, "There is only one token here: there is no next one to be wrong about. Write a longer prompt.");
    }
    ask.offer({ ids, place: pinned < ids.length - 1 ? pinned : null, neuron: local.neuron, wire: local.wire });
  }

  function draw(state) {
    if (!found) return;
    Object.assign(local, { neuron: found.neuron, wire: found.wire });
    wires.set(found.wire);
    slider.set(local.change);
    Page.subtitle(box, "Neurons of the last block that write most here");
    Page.chips(box, { label: "Neurons of the last block; press one to follow its weight", tokens: found.neurons.map((n) => `#${n}`),
      pinned: found.neurons.indexOf(found.neuron), onPick: (i) => { local.neuron = found.neurons[i]; local.change = 0; offer(state); } });
    drawChain(state);
    drawCurve();
    describe(state);
  }

  /** What each place holds on the way to the loss, and the error that comes back to it. */
  function drawChain(state) {
    const { wire: d, target } = found, token = state.tokenizer.show(target), { normName } = state.model.parts;
    const places = [
      [`neuron #${found.neuron}`, "a", found.activation, "Σ errors × its weights", found.neuronError],
      ["the weight", "w", found.weight, "error behind it × a", found.gradient, "chosen"],
      [`number ${d} of the stream`, "x", found.stream, `back through ${normName}`, found.streamError],
      [`after ${normName}`, "h", found.hidden, "Σ errors × table", found.hiddenError],
      [`logit of ${token}`, "z", found.logit, state.model.config.variant.logit_softcap === null ? "p − 1" : "(p − 1) × slope of the cap", found.logitError],
      ["loss", "−ln p", found.loss, "it is what counts", 1],
    ];
    const chain = keep(box, "chain", () => element("ol", { class: "chain", role: "list" }));
    chain.replaceChildren(...places.map(([name, symbol, value, rule, error, kind = ""]) => element("li", { class: kind },
      element("span", { class: "chain-name", text: name }),
      element("span", { class: "chain-value", text: `${symbol} = ${format(value)}` }),
      element("span", { class: "chain-error", text: kind ? `gradient ${format(error)}` : `error ${format(error)}` }),
      element("span", { class: "chain-rule", text: rule }))));
  }

  /** The loss over the weight, computed point by point, and the line that back-propagation predicts. */
  function drawCurve() {
    const { curve, gradient, loss, width, weight } = found, at = local.change + 6;
    const tangent = [-width, width].map((change) => [weight + change, loss + gradient * change]);
    const losses = curve.map(([, each]) => each), low = Math.min(...losses), high = Math.max(...losses), room = Math.max(1e-3, 0.1 * (high - low));
    const inside = ([, y]) => y >= low - room && y <= high + room;
    const line = inside(tangent[0]) && inside(tangent[1]) ? tangent : clipped(tangent, low - room, high + room);
    Page.linePlot(keep(box, "curve", () => element("div")), { label: "The loss of this token over the value of the weight", height: 230,
      x: "value of the weight", y: "loss (nats)", yMin: low - room, yMax: high + room, marker: weight + curve[at][0],
      series: [{ name: "loss, computed anew for each value", points: curve.map(([change, each]) => [weight + change, each]), hue: "probability" },
        { name: "straight line with the gradient as its slope", points: line, hue: "ink", dashed: true }],
      points: [{ x: weight, y: loss, hue: "ink" }, { x: weight + curve[at][0], y: curve[at][1], hue: "warning" }] });
  }

  /** The part of a line that lies between two heights. */
  function clipped([[x0, y0], [x1, y1]], low, high) {
    const at = (y) => x0 + ((y - y0) / (y1 - y0)) * (x1 - x0), [from, to] = y1 > y0 ? [low, high] : [high, low];
    return [[Math.max(x0, at(from)), Math.min(x1, at(to))]].flatMap(([a, b]) => [a, b].map((x) => [x, y0 + ((x - x0) / (x1 - x0)) * (y1 - y0)]));
  }

  function describe(state) {
    const { tokenizer, ids, pinned } = state, { position, gradient, slope, nudge, loss, curve, wire } = found, [change, after] = curve[local.change + 6];
    const moved = local.change ? ` Changed by ${signed(change)}, the loss is ${format(after)}; the straight line says ${format(loss + gradient * change)}.` : "";
    const where = pinned === position ? "" : ` (the pinned token has no next one; this is the last place ${found.isUnsure ? "at which the model was undecided" : "that has one"})`;
    readout(box, `After ${tokenizer.show(ids[position])} comes ${tokenizer.show(ids[position + 1])}, which got ${Page.percent(found.probability)}${where}: a loss of `
      + `${format(loss)} nats. Gradient of the weight from neuron ${found.neuron} to number ${wire} of the stream, by back-propagation: ${format(gradient)}. `
      + `By trial, with the weight ${format(nudge)} larger and smaller: ${format(slope)}.${moved}`);
  }

  Page.step("training", { mount, render });
})();
