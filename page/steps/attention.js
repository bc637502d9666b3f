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
    if (change === "prompt" || change === "model" || local.key === null || local.key > state.pinned || local.key < first(state)) {
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

  /** The first key that the pinned token may look at. */
  function first({ model, pinned }, { layer } = local) {
    return model.blocks[layer].attention.firstKey(pinned);
  }

  function strongestKey(state) {
    return Page.largest(headRow(state, "weights", local, state.pinned), 1)[0];
  }

  /** A query (n_heads of them), or a key (n_kv_heads, each for several queries). */
  function vector({ trace, ids, model }, kind, position) {
    const { head_size: K, n_heads, n_kv_heads } = model.config;
    const head = kind === "queries" ? local.head : Math.floor(local.head / (n_heads / n_kv_heads));
    const start = (head * ids.length + position) * K;
    return trace.get(`blocks.${local.layer}.attention.${kind}`).subarray(start, start + K);
  }

  function showDot(state) {
    const { pinned, tokenizer, ids } = state, from = first(state), weights = headRow(state, "weights", local, pinned).slice(from);
    Page.chips(dotBox, {
      label: "Keys the pinned token may look at, shaded by weight; press one",
      tokens: state.shown().slice(from, pinned + 1), notes: Array.from(weights, Page.percent),
      shade: weights.map((weight) => weight / Math.max(...weights)), pinned: local.key - from,
      onPick: (s) => { local.key = from + s; showDot(state); },
    });
    const query = vector(state, "queries", pinned), key = vector(state, "keys", local.key);
    const products = query.map((value, i) => value * key[i]), K = query.length;
    const kinds = ["query", "key", "product"], values = [...query, ...key, ...products];
    Page.heatMap(dotBox, {
      label: "Query, key and their products", rows: 3, columns: K, values, rowLabels: kinds, hue: "attention",
      diverging: true, cellHeight: 24, max: state.steady("dot", Math.max(...values.map(Math.abs))),
      describe: (r, c) => `Entry ${c}: query ${Page.format(query[c])} × key ${Page.format(key[c])} = ${Page.format(products[c])}`,
    });
    const sum = products.reduce((a, b) => a + b, 0);
    Page.readout(dotBox, `Query of ${tokenizer.show(ids[pinned])}, key of ${tokenizer.show(ids[local.key])}: the ${K} products sum to ${Page.format(sum)}; `
      + `divided by √${K} the score is ${Page.format(sum / Math.sqrt(K))}, and after the softmax the weight is ${Page.percent(weights[local.key - from])}.${asTheyMeet(state.model.config)}`);
  }

  /** What was done to query and key before they met, where the model is not the classic one. */
  function asTheyMeet({ variant, n_heads, n_kv_heads }) {
    const done = [variant.qk_norm !== "none" && "brought to a fixed size (QK-norm)",
      variant.positions === "rotary" && "turned by the angles of their positions (rotary)"].filter(Boolean);
    return (done.length ? ` In this model both have been ${done.join(" and ")}.` : "")
      + (n_kv_heads < n_heads ? ` Each key is shared by ${n_heads / n_kv_heads} heads.` : "")
      + (variant.window ? ` A query sees the last ${variant.window} positions only.` : "");
  }

  function showRow(state) {
    const { pinned, model } = state, from = first(state);
    const factor = local.scaled ? 1 : Math.sqrt(model.config.head_size);
    const scores = headRow(state, "scores", local, pinned).slice(from).map((score) => score * factor);
    const weights = Page.softmax(scores), shown = state.shown().slice(from);
    const order = Page.largest(weights, 12).sort((a, b) => a - b);
    Page.bars(rowBox, {
      label: "Attention weights of the pinned token", max: 1, hue: "attention",
      items: order.map((s) => ({ label: `${from + s} ${shown[s]}`, value: weights[s], text: Page.percent(weights[s]) })),
    });
    const bits = Page.entropy(weights), most = Math.log2(weights.length), top = Page.largest(weights, 1)[0];
    const rest = weights.length > order.length ? ` Shown are the ${order.length} largest of ${weights.length} weights.` : "";
    Page.readout(rowBox, `Block ${local.layer}, head ${local.head}, ${local.scaled ? "divided by √K" : "not divided"}: scores from `
      + `${Page.format(Math.min(...scores))} to ${Page.format(Math.max(...scores))}, entropy ${bits.toFixed(2)} of at most ${most.toFixed(2)} bits. `
      + `Most weight: ${shown[top]} with ${Page.percent(weights[top])}.${rest}`);
  }

  Object.assign(Page, { headPicker, headRow, firstKey: first });
  Page.step("attention", { mount, render });
})();
