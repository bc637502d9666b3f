// Step 11, fifth part: the singular values of a gradient while Muon makes it orthogonal.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { readout, format } = Page;
  const MOST_ROWS = 256; // wider matrices would take plain JavaScript minutes
  const AT_ONCE = 3e9; // multiply-adds that are spent on the gradient without being asked
  const LOWEST = 1e-5; // of the vertical axis
  const NEAR = [0.6, 1.25]; // what counts as come to 1: as far as src/transformer/ladder/muon.py promises
  const local = { round: 0, found: null, tokens: 0, seen: false };
  let box, slider, ask;

  function mount(root, state) {
    box = Page.slot(root, "muon");
    slider = Page.slider(Page.controls(box), { label: "Rounds", min: 0, max: 5, value: 0, onInput: (round) => { local.round = round; draw(state); } });
    ask = Page.request(box, state, { task: "muon", label: "Compute the gradient and its rounds", turns: true, lasting: true,
      progress: ({ share }) => readout(box, `Measuring singular values: ${Math.round(100 * share)} % …`),
      draw: (found, { sequences }) => { Object.assign(local, { found, tokens: sequences.reduce((sum, ids) => sum + ids.length - 1, 0) }); draw(state); } });
    readout(box, "Measuring …");
    Page.whenSeen(root, () => { local.seen = true; start(state); });
  }

  function render(state, change) {
    if (change === "model" || change === "rest") { // of a film: singular values take a while
      local.found = null;
      ask.withdraw();
      Page.linePlot(box, EMPTY);
      if (local.seen) start(state);
    } else if (change === "resize") draw(state);
  }

  const EMPTY = { label: "Singular values, not measured yet", x: "singular value, the largest first", y: "size", height: 240, series: [],
    columns: [], yMin: LOWEST, yMax: 2, logY: true };

  /** Toy stories with several tokens for each direction that the matrix has; a larger model gets fewer. */
  function start({ model: { config, parameterCount }, tokenizer }) {
    const n = Math.min(config.d_model, config.d_ff), sequences = [];
    if (n > MOST_ROWS) {
      return void readout(box, `The matrices of this model have ${n} rows or more. Their singular values would take plain JavaScript minutes: the figure shows up to ${MOST_ROWS}.`);
    }
    const wanted = Math.max(n, Math.min(8 * n, AT_ONCE / parameterCount));
    for (let tokens = 0; tokens < wanted && sequences.length < Page.samples.stories.length;) {
      const ids = [tokenizer.startOfText, ...tokenizer.encode(Page.samples.stories[sequences.length])].slice(0, config.max_seq_len);
      sequences.push(ids);
      tokens += ids.length - 1;
    }
    if (sequences[0].length < 2) return void readout(box, "This model's context of one token leaves nothing to predict, so there is no gradient.");
    return void ask.offer({ sequences });
  }

  function draw({ model: { config } }) {
    if (!local.found) return;
    const values = local.found[local.round], end = local.found.at(-1), [before] = local.found;
    const columns = Array.from(values, (y, i) => ({ from: i, to: i + 1, y: Math.max(LOWEST, y), hue: "feed-forward" }));
    Page.linePlot(box, { ...EMPTY, label: `${values.length} singular values of the gradient after ${local.round} of 5 rounds`, columns,
      rules: [{ y: 1, text: "the aim: 1" }], series: [{ name: "before the first round", text: local.round ? "before" : "", hue: "ink", dashed: true,
        points: Array.from(before, (y, i) => [i + 0.5, y]).filter(([, y]) => y >= LOWEST) }] });
    const near = end.filter((value) => value >= NEAR[0] && value <= NEAR[1]), rounds = local.round === 1 ? "one round" : `${local.round} rounds`;
    const far = near.length === end.length ? "" : ` ${end.length - near.length} have not come so far: they began below ${format(before[near.length - 1])}, and what is smaller takes more rounds. What is 0 stays 0.`;
    readout(box, `Gradient of W₂ of block ${config.n_layers - 1} (${config.d_model} × ${config.d_ff}) over ${local.tokens} tokens of toy stories, scaled to length 1. After ${local.round === 0 ? "no round" : rounds}: `
      + `singular values from ${format(values.at(-1))} to ${format(values[0])}. After all five, ${near.length} of ${end.length} are between ${NEAR.join(" and ")}, the furthest of them `
      + `${format(Math.max(...near.map((value) => Math.abs(1 - value))))} from 1.${far}`);
  }

  Page.step("ladder", { mount, render });
})();
