// Step 7: the learning rate and the gradient's length over real runs.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, keep, readout, format } = Page;
  const LABELS = { learning: "learning", overfitting: "overfitting", "accumulation-1": "accumulation 1", "accumulation-16": "accumulation 16" };
  const figure = { run: "learning", step: 1 };

  function mount(root) {
    figure.box = Page.slot(root, "plan");
    const row = Page.controls(figure.box), there = Object.keys(LABELS).filter((name) => Page.curves?.[name]);
    Page.choice(row, { label: "Run", value: figure.run, options: there.map((name) => ({ value: name, label: LABELS[name] })),
      onChange: (name) => { figure.run = name; begin(); draw(); } });
    figure.slider = Page.slider(row, { label: "Step", min: 1, max: 1, value: 1, onInput: (step) => { figure.step = step; draw(); } });
    begin();
  }

  /** Of a run: its steps, and the schedule that it followed. */
  function begin() {
    const run = Page.curves?.[figure.run];
    if (!run) return;
    figure.slider.limit(run.plan.steps);
    figure.step = run.plan.warmup;
    figure.slider.set(figure.step);
  }

  function render(state, change) {
    if (change === "model" || change === "resize") draw(); // nothing here depends on the prompt
  }

  function draw() {
    const run = Page.curves?.[figure.run];
    if (!run) return void readout(figure.box, "page/curves.data.js is missing: export it with commands/export_page.py.");
    const { plan, train } = run, at = Array.from({ length: 201 }, (_, i) => Math.max(1, Math.round((plan.steps * i) / 200)));
    Page.linePlot(keep(figure.box, "rate", () => element("div")), { label: "Learning rate over the steps", height: 180, x: "optimiser step", y: "learning rate",
      yMin: 0, marker: figure.step, series: [{ name: "learning rate", hue: "position", points: at.map((step) => [step, Page.learningRate(step, plan)]) }] });
    const norms = train.map(([step, , , norm]) => [step, norm]), most = Math.max(plan.clip * 1.15, ...norms.map(([, norm]) => norm));
    Page.linePlot(keep(figure.box, "norm", () => element("div")), { label: "Length of the gradient over the steps", height: 210, x: "optimiser step",
      y: "length of the gradient", yMin: 0, yMax: most, marker: figure.step, rules: [{ y: plan.clip, text: `clipped above ${plan.clip}`, late: true }],
      series: [{ name: "length of the gradient", hue: "feed-forward", points: norms }] });
    describe(run, norms);
  }

  function describe({ plan, command }, norms) {
    const clipped = norms.filter(([, norm]) => norm > plan.clip).length, rate = Page.learningRate(figure.step, plan);
    const near = norms.reduce((a, b) => (Math.abs(b[0] - figure.step) < Math.abs(a[0] - figure.step) ? b : a));
    const shortened = near[1] > plan.clip ? `, shortened to ${plan.clip}` : "";
    readout(figure.box, `Step ${figure.step}: learning rate ${format(rate)}, ${Page.percent(rate / plan.peak)} of the highest (warm-up: ${plan.warmup} of `
      + `${plan.steps} steps). Length of the gradient in the nearest step in the log, ${near[0]}: ${format(near[1])}${shortened}. `
      + `In ${clipped} of the ${norms.length} logged steps the gradient was clipped. Made with: ${command}`);
  }

  Page.step("training", { mount, render });
})();
