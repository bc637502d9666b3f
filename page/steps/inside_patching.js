// Step 9, second part: activation patching on a song of which one syllable was changed.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, keep, readout } = Page;
  const figure = { site: "residual", at: 3, turn: 0, pair: null };

  function mount(root, state) {
    Object.assign(figure, { state, box: Page.slot(root, "patching") });
    const row = Page.controls(figure.box);
    Page.choice(row, { label: "Patch the", value: "residual", onChange: (value) => { figure.site = value; prepare(); },
      options: Page.patchingSites.map((site) => ({ value: site, label: site })) });
    figure.slider = Page.slider(row, { label: "Syllable that is changed", min: 1, max: 6, value: 3,
      onInput: (value) => { figure.at = value; prepare(); } });
    figure.start = Page.button(row, { label: "Patch every block and position", onClick: () => sweep() });
    Page.button(row, { label: "Cancel", onClick: cancel });
    readout(figure.box, "Waiting for the songs …");
    Page.inside.onSong = prepare; // another song was chosen
  }

  function render(state, change) {
    if (change === "model") cancel();
    if ((change === "resize" || change === "theme") && figure.values) draw();
  }

  function cancel() {
    figure.turn++;
  }

  /** The two prompts, and what the model answers to each. */
  function prepare() {
    cancel();
    const { tokens } = Page.inside;
    if (!tokens) return;
    const copied = tokens.first.filter((earlier) => earlier >= 0).length;
    figure.slider.limit(copied);
    figure.values = null;
    try {
      figure.pair = Page.songPair(tokens, Math.min(figure.at, copied) - 1, 3);
      figure.patching = new Page.Patching(figure.state.model, figure.pair);
    } catch (error) {
      figure.patching = null;
      return void readout(figure.box, error.message);
    }
    drawPrompts();
    draw();
  }

  /** The song of both prompts, from the syllable that differs to the last. */
  function drawPrompts() {
    const { clean, corrupted, place } = figure.pair, { tokenizer } = figure.state, from = Math.max(0, place - 4);
    const box = keep(figure.box, "prompts", () => element("div"));
    for (const [name, ids] of [["Clean", clean], ["Corrupted", corrupted]]) {
      const part = keep(box, name, () => element("div", {}, element("p", { class: "subtitle", text: `${name} prompt, from position ` })));
      part.firstChild.textContent = `${name} prompt, from position ${from}`;
      Page.chips(part, { label: `${name} prompt`, tokens: ids.slice(from).map((id) => tokenizer.show(id)), pinned: place - from });
    }
  }

  async function sweep() {
    if (!figure.patching) return;
    cancel();
    const turn = figure.turn;
    const onProgress = (values, share) => { Object.assign(figure, { values, share }); draw(); };
    const done = await figure.patching.sweep(figure.site, { onProgress, cancelled: () => turn !== figure.turn });
    if (!done && figure.patching) readout(figure.box, "Cancelled.");
  }

  function draw() {
    const { patching, pair, values, share, site, state } = figure, { tokenizer } = state;
    if (!patching) return;
    const L = state.model.config.n_layers, T = pair.clean.length, from = Math.max(0, pair.place - 2), columns = T - from;
    const cells = Array.from({ length: L * columns }, (_, i) => values?.[Math.floor(i / columns) * T + from + (i % columns)] ?? NaN);
    const token = (c) => tokenizer.show(pair.corrupted[from + c]);
    Page.heatMap(keep(figure.box, "sweep", () => element("div")), { label: `Recovered logit difference by block and position, site ${site}`,
      rows: L, columns, values: cells, max: 1, hue: "residual", diverging: true, cellHeight: 24,
      rowLabels: Array.from({ length: L }, (_, i) => `block ${i}`), columnLabels: Array.from({ length: columns }, (_, c) => token(c)),
      describe: (layer, c) => (values ? `block ${layer}, position ${from + c} "${token(c)}": recovers ${cells[layer * columns + c].toFixed(3)}` : "not computed yet") });
    describe(patching, pair, values, share);
  }

  const signed = (value) => value.toFixed(2).replace("-", "−");

  function describe({ cleanDifference, corruptedDifference }, pair, values, share) {
    const { tokenizer } = figure.state, show = (id) => `"${tokenizer.show(id)}"`;
    const answers = `Logit of ${show(pair.cleanAnswer)} minus logit of ${show(pair.corruptedAnswer)} after the last token: `
      + `${signed(cleanDifference)} for the clean prompt, ${signed(corruptedDifference)} for the corrupted one. `;
    const progress = !values ? "Press the button to patch." : share < 1 ? `${Math.round(100 * share)} % done.` : extremes(values, pair);
    readout(figure.box, answers + progress);
  }

  /** The two ends of the scale, run rather than assumed. */
  function extremes(values, pair) {
    const { patching, site, state } = figure, L = state.model.config.n_layers, T = pair.clean.length;
    const [best] = Page.largest(values, 1);
    const all = patching.patchAll(Array.from({ length: L }, (_, i) => `blocks.${i}.residual`));
    const none = patching.patchAll([]);
    return `Of the single places at ${site}, block ${Math.floor(best / T)} at position ${best % T} recovers most: ${values[best].toFixed(2)}. `
      + `Patching everything recovers ${all.toFixed(3)}, patching nothing ${none.toFixed(3)}.`;
  }

  Page.step("inside", { mount, render });
})();
