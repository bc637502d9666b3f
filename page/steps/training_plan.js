// Step 7: the learning rate and the gradient's length over real runs, and over the film's training.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, keep, readout, format } = Page;
  const LABELS = { learning: "learning", overfitting: "overfitting", "accumulation-1": "accumulation 1", "accumulation-16": "accumulation 16" };
  const figure = { box: null, state: null, runs: null, run: "learning", step: 1 };

  function mount(root, state) {
    Object.assign(figure, { box: Page.slot(root, "plan"), state });
    const row = Page.controls(figure.box);
    figure.runs = Page.choice(row, { label: "Run", options: [], value: figure.run, onChange: (name) => { figure.run = name; begin(); draw(); } });
    figure.slider = Page.slider(row, { label: "Step", min: 1, max: 1, value: 1, onInput: (step) => { figure.step = step; draw(); } });
  }

  function render(state, change) {
    if (change === "model") {
      const hasLog = logged(state.film).length > 0, there = Object.keys(LABELS).filter((name) => Page.curves?.[name]);
      const options = there.map((name) => ({ value: name, label: LABELS[name] }));
      if (hasLog) options.unshift({ value: "film", label: "the film's" });
      figure.runs.fill(options);
      figure.runs.set(hasLog ? "film" : there.includes(figure.run) ? figure.run : there[0]);
      figure.run = figure.runs.value;
      begin();
    }
    if (change === "frame" && figure.run === "film") follow(state);
    if (["model", "frame", "resize"].includes(change)) draw(); // nothing here depends on the prompt
  }

  /** [step, loss, learning rate, length of the gradient] of what the film's training logged. */
  const logged = (film) => (film?.train ?? []).filter((row) => row.length === 4 && row.every(Number.isFinite));

  /** {steps, rates: [[step, rate]], norms: [[step, length]], clip and warmup where they are known}. */
  function chosen() {
    if (figure.run === "film") {
      const { film } = figure.state, log = logged(film), column = (at) => log.map((row) => [row[0], row[at]]);
      return { steps: film.steps.at(-1), rates: column(2), norms: column(3), origin: "From the film's own log." };
    }
    const run = Page.curves?.[figure.run];
    if (!run) return null;
    const { plan, train, command } = run, steps = Array.from({ length: 201 }, (_, i) => Math.max(1, Math.round((plan.steps * i) / 200)));
    return { steps: plan.steps, clip: plan.clip, warmup: plan.warmup, norms: train.map(([step, , , norm]) => [step, norm]),
      rates: steps.map((step) => [step, Page.learningRate(step, plan)]), origin: `Made with: ${command}` };
  }

  /** At the end of the warm-up, or where the film is. */
  function begin() {
    const run = chosen();
    if (!run) return;
    figure.slider.limit(run.steps);
    if (figure.run === "film") return follow(figure.state);
    figure.step = Math.max(1, run.warmup);
    figure.slider.set(figure.step);
  }

  function follow({ film, frame }) {
    figure.step = Math.max(1, film.steps[frame]);
    figure.slider.set(figure.step);
  }

  function draw() {
    const run = chosen();
    if (!run) return void readout(figure.box, "page/curves.data.js is missing: export it with commands/export_page.py.");
    const { rates, norms, clip } = run, most = Math.max(1.15 * (clip ?? 0), ...norms.map(([, norm]) => norm));
    Page.linePlot(keep(figure.box, "rate", () => element("div")), { label: "Learning rate over the steps", height: 180, x: "optimiser step", y: "learning rate",
      yMin: 0, marker: figure.step, series: [{ name: "learning rate", hue: "position", points: rates }] });
    Page.linePlot(keep(figure.box, "norm", () => element("div")), { label: "Length of the gradient over the steps", height: 210, x: "optimiser step",
      y: "length of the gradient", yMin: 0, yMax: most, marker: figure.step, rules: clip ? [{ y: clip, text: `clipped above ${clip}`, late: true }] : [],
      series: [{ name: "length of the gradient", hue: "feed-forward", points: norms }] });
    describe(run);
  }

  const nearest = (rows) => rows.reduce((a, b) => (Math.abs(b[0] - figure.step) < Math.abs(a[0] - figure.step) ? b : a));

  function describe({ rates, norms, clip, warmup, steps, origin }) {
    const [, rate] = nearest(rates), [at, norm] = nearest(norms), highest = Math.max(...rates.map(([, each]) => each));
    const warm = warmup ? ` (warm-up: ${warmup} of ${steps} steps)` : "", shortened = clip && norm > clip ? `, shortened to ${clip}` : "";
    const often = clip ? ` In ${norms.filter(([, each]) => each > clip).length} of the ${norms.length} steps kept here the gradient was clipped.` : "";
    readout(figure.box, `Step ${figure.step}: learning rate ${format(rate)}, ${Page.percent(rate / highest)} of the highest${warm}. `
      + `Length of the gradient in the nearest step kept here, ${at}: ${format(norm)}${shortened}.${often} ${origin}`);
  }

  Page.step("training", { mount, render });
})();
