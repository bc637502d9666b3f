// Step 9, second part: activation patching on a song of which one syllable was changed.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, keep, readout } = Page;
  const figure = { site: "residual", at: 3, pair: null, differences: null, values: null };

  function mount(root, state) {
    Object.assign(figure, { state, box: Page.slot(root, "patching") });
    const row = Page.controls(figure.box);
    Page.choice(row, { label: "Patch the", value: "residual", onChange: (value) => { figure.site = value; prepare(); },
      options: Page.patchingSites.map((site) => ({ value: site, label: site })) });
    figure.slider = Page.slider(row, { label: "Copied syllable that is changed", min: 1, max: 6, value: 3,
      onInput: (value) => { figure.at = value; prepare(); } });
    Page.button(row, { label: "Patch every block and position", onClick: start });
    Page.button(row, { label: "Cancel", onClick: () => { if (cancel()) describe("Cancelled."); } });
    readout(figure.box, "Waiting for the songs …");
    Page.inside.onSong = prepare;
  }

  function render(state, change) {
    if (change === "frame" || change === "rest") return follow(change);
    if ((change === "resize" || change === "theme") && figure.values) draw(figure.said);
  }

  /** Another moment of the film. What was patched is patched again when the film rests. */
  function follow(change) {
    if (!figure.pair) return;
    figure.box.classList.toggle("waiting", change === "frame");
    const again = figure.values !== null;
    cancel();
    if (change === "frame") return;
    prepare();
    if (again) start();
  }

  /** Whether there was anything to cancel. */
  function cancel() {
    const { job } = figure;
    job?.cancel();
    figure.job = null;
    return Boolean(job);
  }

  /** Another model or song: the two prompts. A small model answers both at once, a large one when it is asked to patch.
   *  why: there is no song. */
  function prepare(why = "Waiting for the songs …") {
    cancel();
    Object.assign(figure, { pair: null, differences: null, values: null });
    const { tokens } = Page.inside;
    figure.box.classList.toggle("empty", !tokens);
    if (!tokens) return void readout(figure.box, why);
    const copied = tokens.first.filter((earlier) => earlier >= 0).length;
    figure.slider.limit(copied);
    figure.slider.set(Math.min(figure.at, copied));
    figure.pair = Page.songPair(tokens, Math.min(figure.at, copied) - 1, 3);
    drawPrompts();
    draw();
    if (figure.state.engine.isLocal) answer(() => {});
  }

  /** What the model answers to each prompt, and then. */
  function answer(then) {
    const progress = ({ share }) => describe(`The model reads both prompts: ${Math.round(100 * share)} % …`);
    ask("patching", { pair: figure.pair }, { progress }, (differences) => {
      figure.differences = differences;
      draw();
      then();
    });
  }

  function ask(task, question, options, done) {
    const job = figure.state.engine.ask(task, question, { lasting: true, ...options,
      done: (found) => { figure.job = null; done(found); },
      failed: (error) => { figure.job = null; readout(figure.box, error.message); } });
    if (job) figure.job = job; // null: the answer has been given
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

  function start() {
    if (!figure.pair) return;
    cancel();
    if (figure.differences) return sweep();
    describe("The model reads both prompts …");
    answer(sweep);
  }

  function sweep() {
    const { site } = figure, progress = ({ values, share }) => { figure.values = values; draw(`${Math.round(100 * share)} % done.`); };
    describe("Patching …");
    ask("sweep", { site }, { turns: true, progress }, ({ values, all, none }) => {
      figure.values = values;
      draw(extremes(values, all, none));
    });
  }

  function draw(progress = "Press the button to patch.") {
    const { pair, values, site, state } = figure, { tokenizer } = state;
    if (!pair) return;
    figure.said = progress;
    const L = state.model.config.n_layers, T = pair.clean.length, from = Math.max(0, pair.place - 2), columns = T - from;
    const cells = Array.from({ length: L * columns }, (_, i) => values?.[Math.floor(i / columns) * T + from + (i % columns)] ?? NaN);
    const token = (c) => tokenizer.show(pair.corrupted[from + c]);
    Page.heatMap(keep(figure.box, "sweep", () => element("div")), { label: `Recovered logit difference by block and position, site ${site}`,
      rows: L, columns, values: cells, max: 1, hue: "residual", diverging: true, cellHeight: 24,
      rowLabels: Array.from({ length: L }, (_, i) => `block ${i}`), columnLabels: Array.from({ length: columns }, (_, c) => token(c)),
      describe: (layer, c) => (!Number.isNaN(cells[layer * columns + c]) ? `block ${layer}, position ${from + c} "${token(c)}": recovers ${cells[layer * columns + c].toFixed(3)}` : "not computed yet") });
    describe(progress);
  }

  const signed = (value) => value.toFixed(2).replace("-", "−");

  function describe(progress) {
    const { tokenizer } = figure.state, { pair, differences } = figure, show = (id) => `"${tokenizer.show(id)}"`;
    const answers = differences && `: ${signed(differences.cleanDifference)} for the clean prompt, ${signed(differences.corruptedDifference)} for the corrupted one`;
    readout(figure.box, `Logit of ${show(pair.cleanAnswer)} minus logit of ${show(pair.corruptedAnswer)} after the last token${answers ?? ""}. ${progress}`);
  }

  /** The two ends of the scale, run rather than assumed. */
  function extremes(values, all, none) {
    const T = figure.pair.clean.length, [best] = Page.largest(values, 1);
    return `Of the single places at ${figure.site}, block ${Math.floor(best / T)} at position ${best % T} recovers most: ${values[best].toFixed(2)}. `
      + `Patching everything recovers ${all.toFixed(3)}, patching nothing ${none.toFixed(3)}.`;
  }

  Page.step("inside", { mount, render });
})();
