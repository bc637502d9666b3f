// Step 2: one row of attention, from products to weights.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const local = { layer: 0, head: 0, key: null, scaled: true };
  let dotBox, rowBox, picker;

  function mount(root, state) {
    [dotBox, rowBox] = [Page.slot(root, "dot"), Page.slot(root, "row-weights")];
    picker = headPicker(Page.controls(dotBox), local, () => show(state));
    Page.toggle(Page.controls(rowBox), { label: "Divide by √K", checked: true, onChange: (on) => { local.scaled = on; showRow(state); } });
  }

  /** Block and head, as two choices that follow the model's shape. */
  function headPicker(box, choice, onChange) {
    const numbers = (count) => Array.from({ length: count }, (_, i) => ({ value: i, label: String(i) }));
    const layer = Page.choice(box, { label: "Block", options: [], onChange: (value) => { choice.layer = value; onChange(); } });
    const head = Page.choice(box, { label: "Head", options: [], onChange: (value) => { choice.head = value; onChange(); } });
    let shape = "";
    return {
      follow({ n_layers, n_heads }) {
        if (shape !== `${n_layers},${n_heads}`) {
          shape = `${n_layers},${n_heads}`;
          choice.layer = Math.min(choice.layer, n_layers - 1);
          choice.head = Math.min(choice.head, n_heads - 1);
          layer.fill(numbers(n_layers));
          head.fill(numbers(n_heads));
        }
        layer.set(choice.layer);
        head.set(choice.head);
      },
    };
  }

  function render(state, change) {
    picker.follow(state.model.config);
    if (change === "prompt" || change === "model" || local.key === null || local.key > state.pinned) {
      local.key = strongestKey(state);
    }
    show(state);
  }

  function show(state) {
    showDot(state);
    showRow(state);
  }

  /** Row t of one head's scores or weights. */
  function headRow({ trace, ids }, kind, { layer, head }, t) {
    const T = ids.length, start = (head * T + t) * T;
    return trace.get(`blocks.${layer}.attention.${kind}`).subarray(start, start + t + 1);
  }

  function strongestKey(state) {
    return Page.largest(headRow(state, "weights", local, state.pinned), 1)[0];
  }

  function vector({ trace, ids, model }, kind, position) {
    const K = model.config.d_model / model.config.n_heads;
    const start = (local.head * ids.length + position) * K;
    return trace.get(`blocks.${local.layer}.attention.${kind}`).subarray(start, start + K);
  }

  function showDot(state) {
    const { pinned, tokenizer, ids } = state, weights = headRow(state, "weights", local, pinned);
    Page.chips(dotBox, {
      label: "Keys the pinned token may look at, shaded by weight; press one",
      tokens: state.shown().slice(0, pinned + 1), notes: Array.from(weights, Page.percent),
      shade: weights.map((weight) => weight / Math.max(...weights)), pinned: local.key, onPick: (s) => { local.key = s; showDot(state); },
    });
    const query = vector(state, "queries", pinned), key = vector(state, "keys", local.key);
    const products = query.map((value, i) => value * key[i]), K = query.length;
    const kinds = ["query", "key", "product"], values = [...query, ...key, ...products];
    Page.heatMap(dotBox, {
      label: "Query, key and their products", rows: 3, columns: K, values, rowLabels: kinds, hue: "attention",
      diverging: true, cellHeight: 24, max: Math.max(...values.map(Math.abs)),
      describe: (r, c) => `Entry ${c}: query ${Page.format(query[c])} × key ${Page.format(key[c])} = ${Page.format(products[c])}`,
    });
    const sum = products.reduce((a, b) => a + b, 0);
    Page.readout(dotBox, `Query of ${tokenizer.show(ids[pinned])}, key of ${tokenizer.show(ids[local.key])}: the ${K} products sum to ${Page.format(sum)}; `
      + `divided by √${K} the score is ${Page.format(sum / Math.sqrt(K))}, and after the softmax the weight is ${Page.percent(weights[local.key])}.`);
  }

  function showRow(state) {
    const { pinned, model } = state, K = model.config.d_model / model.config.n_heads;
    const factor = local.scaled ? 1 : Math.sqrt(K);
    const scores = headRow(state, "scores", local, pinned).map((score) => score * factor);
    const weights = Page.softmax(scores), shown = state.shown();
    const order = Page.largest(weights, 12).sort((a, b) => a - b);
    Page.bars(rowBox, {
      label: "Attention weights of the pinned token", max: 1, hue: "attention",
      items: order.map((s) => ({ label: `${s} ${shown[s]}`, value: weights[s], text: Page.percent(weights[s]) })),
    });
    const bits = Page.entropy(weights), most = Math.log2(pinned + 1), top = Page.largest(weights, 1)[0];
    const rest = pinned + 1 > order.length ? ` Shown are the ${order.length} largest of ${pinned + 1} weights.` : "";
    Page.readout(rowBox, `Block ${local.layer}, head ${local.head}, ${local.scaled ? "divided by √K" : "not divided"}: scores from `
      + `${Page.format(Math.min(...scores))} to ${Page.format(Math.max(...scores))}, entropy ${bits.toFixed(2)} of at most ${most.toFixed(2)} bits. `
      + `Most weight: ${shown[top]} with ${Page.percent(weights[top])}.${rest}`);
  }

  Object.assign(Page, { headPicker, headRow });
  Page.step("attention", { mount, render });
})();
