// Step 11, first part: what each change since 2017 was worth, as commands/ladder.py measured it here
// or on the reader's machine.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, keep, readout, plusMinus, FileError } = Page;
  const figure = { table: null, selected: null, over: "seconds", turn: 0 };
  const count = (value) => Math.round(value).toLocaleString("en-US");

  function mount(root) {
    Object.assign(figure, { root, box: Page.slot(root, "ladder"), fileBox: Page.slot(root, "ladder-file") });
    figure.note = keep(figure.box, "note", () => element("p", { class: "note" }));
    Page.choice(Page.controls(figure.box), { label: "Loss over", value: figure.over,
      options: [{ value: "seconds", label: "seconds of training" }, { value: "tokens", label: "tokens" }],
      onChange: (value) => { figure.over = value; draw(); } });
    figure.lines = keep(figure.box, "lines", () => element("div"));
    Page.subtitle(figure.box, "Gain of each rung over the one that it stands on, in nats per token; press one");
    figure.rungs = keep(figure.box, "rungs", () => element("ul", { class: "rungs", role: "list", "aria-label": "Rungs" }));
    figure.about = keep(figure.box, "about", () => element("div", { class: "about-rung" }));
    readout(figure.box, "").setAttribute("aria-live", "polite");
    mountFile(root);
    useShipped();
  }

  function mountFile(root) {
    const input = element("input", { type: "file", accept: ".json", "aria-label": "Your ladder.json" });
    input.addEventListener("change", () => { take(input.files[0]); input.value = ""; });
    const zone = element("div", { class: "drop-zone" },
      element("p", { text: "Drop your runs/ladder/ladder.json here, or choose it:" }), input);
    figure.fileBox.append(zone);
    root.addEventListener("dragover", () => zone.classList.add("over"));
    root.addEventListener("dragleave", () => zone.classList.remove("over"));
    root.addEventListener("drop", (event) => {
      zone.classList.remove("over");
      take(event.dataTransfer.files[0]);
    });
    figure.status = keep(figure.fileBox, "status", () => element("p", { class: "status", role: "status" }));
    figure.back = Page.button(Page.controls(figure.fileBox), { label: "Back to the table of this page", onClick: () => { useShipped(); draw(); } }).node;
  }

  function say(text, isError = false) {
    figure.status.textContent = text;
    figure.status.classList.toggle("error", isError);
  }

  function useShipped() {
    figure.turn++;
    figure.back.hidden = true;
    if (!Page.ladderTable) return void say("page/ladder.data.js is missing: export it with commands/export_page.py --ladder.", true);
    use(Page.checkLadder(Page.ladderTable));
    say("The figure shows the table that comes with this page.");
  }

  /** The old table stays until the new one has been checked. */
  async function take(file) {
    if (!file) return;
    const turn = ++figure.turn;
    try {
      const table = await Page.readLadder(file);
      if (turn !== figure.turn) return; // another file came after it
      use(table);
      draw();
      figure.back.hidden = !Page.ladderTable;
      say(`${file.name} is loaded: the figure shows your ladder of ${table.rungs.length} rungs.`);
    } catch (error) {
      if (turn !== figure.turn) return;
      if (!(error instanceof FileError)) console.warn(error);
      const reason = error instanceof FileError ? error.message : `It could not be read (${error.name}).`;
      say(`${file.name} was not loaded. ${reason} The table that was there is kept.`, true);
    }
  }

  /** Begins with the rung that gained most. */
  function use(table) {
    figure.table = table;
    const gains = table.rungs.map(({ gain }) => gain?.mean ?? -Infinity);
    figure.selected = table.rungs[Page.largest(gains, 1)[0] ?? 0].rung;
  }

  function render(state, change) {
    if (figure.table && ["model", "resize"].includes(change)) draw(); // nothing here depends on the prompt
  }

  function draw() {
    const { dataset, tokenizer, tokens, seeds, rungs } = figure.table;
    figure.note.textContent = `Measured on ${dataset === "toy" ? "the toy stories" : dataset === "text" ? "text files" : dataset}, tokenizer ${tokenizer}: `
      + `${count(rungs.length)} rungs, ${count(tokens)} tokens for each training, ${seeds === 1 ? "one seed" : `${seeds} seeds`}, `
      + `learning rates ${rungs.some(({ factor }) => factor !== 1) ? "looked for with equal effort" : "as each rung has them by itself"}.`;
    drawLines();
    drawRungs();
    tell(rungs.find(({ rung }) => rung === figure.selected));
  }

  /** One line a rung; the steepest beginning is left out, so that what differs later can be seen. */
  function drawLines() {
    const { table: { rungs, floor }, selected, over } = figure, [first] = rungs;
    const lowest = Math.min(...rungs.map(({ loss }) => loss.mean)), highest = Math.max(...rungs.map(({ loss }) => loss.mean));
    const top = highest + 0.3 + 1.5 * (highest - lowest);
    const line = ({ rung, curve, seconds_per_token }) => ({ name: rung, points: curve.filter(([, loss]) => loss <= top)
      .map(([at, loss]) => [at * (over === "seconds" ? seconds_per_token : 1), loss]) });
    const named = ({ rung }) => rung === selected, others = rungs.filter((rung) => !named(rung));
    const rules = [{ y: first.loss.mean, text: `${first.rung} ends: ${first.loss.mean.toFixed(3)}` },
      ...(floor === null ? [] : [{ y: floor, text: `floor ${floor.toFixed(3)}: the best possible` }])];
    Page.linePlot(figure.lines, { label: `Validation loss of ${rungs.length} rungs over ${over}; ${selected} is highlighted`,
      x: over === "seconds" ? "seconds of training" : "tokens", y: "validation loss (nats per token)", height: 320, legend: false, rules,
      xMin: 0, yMin: Math.min(lowest, floor ?? lowest) - 0.03 * (top - lowest), yMax: top,
      series: [...others.map((rung) => ({ ...line(rung), hue: rung === first ? "ink" : "neutral", faded: true })),
        ...rungs.filter(named).map((rung) => ({ ...line(rung), hue: "probability", text: rung.rung }))] });
  }

  function drawRungs() {
    const { table: { rungs }, selected } = figure;
    const ends = rungs.flatMap(({ gain }) => (gain ? [gain.mean - gain.deviation, gain.mean + gain.deviation] : []));
    const low = Math.min(0, ...ends), high = Math.max(1e-9, ...ends), at = (value) => (100 * (value - low)) / (high - low);
    figure.rungs.replaceChildren(...rungs.map((rung) => element("li", {}, rungButton(rung, at, rung.rung === selected))));
  }

  function rungButton(rung, at, pressed) {
    const { hue, word } = Page.verdict(rung), { gain } = rung, track = element("span", { class: "track", "aria-hidden": "true" });
    if (gain) {
      const put = (name, from, to) => {
        const node = element("span", { class: name });
        node.style.left = `${at(Math.min(from, to))}%`;
        node.style.width = `${Math.abs(at(to) - at(from))}%`;
        track.append(node);
        return node;
      };
      put("zero", 0, 0);
      put("gain", 0, gain.mean).style.background = `var(--${hue}-fill, var(--${hue}))`;
      put("spread", gain.mean - gain.deviation, gain.mean + gain.deviation);
    }
    const value = gain ? plusMinus(gain, rung.seeds) : "the start";
    return element("button", { type: "button", class: "rung", "aria-pressed": String(pressed), onclick: () => pick(rung.rung) },
      element("span", { class: "rung-name", text: rung.rung }), track,
      element("span", { class: "rung-value" }, element("span", { text: value }), ...(word ? [element("small", { text: word })] : [])));
  }

  /** The buttons are made again, so the focus is given back to the pressed one. */
  function pick(name) {
    figure.selected = name;
    draw();
    figure.rungs.querySelector('[aria-pressed="true"]').focus({ preventScroll: true });
  }

  function tell(rung) {
    const known = [...figure.root.querySelectorAll("[data-rung]")].find(({ dataset }) => dataset.rung === rung.rung);
    const idea = known ? [...known.childNodes].map((node) => node.cloneNode(true))
      : [element("strong", { text: rung.rung }), " is a rung that this page does not know."];
    figure.about.replaceChildren(element("p", {}, ...idea), numbers(rung));
    const { gain } = rung, { sentence } = Page.verdict(rung);
    readout(figure.box, `Selected: ${rung.rung}, loss ${plusMinus(rung.loss, rung.seeds)} nats per token${gain ? `, gain ${plusMinus(gain, rung.seeds)}` : ""} `
      + `(${rung.seeds === 1 ? "one seed" : `mean ± standard deviation over ${rung.seeds} seeds`}). ${sentence}`);
  }

  function numbers(rung) {
    const [first] = figure.table.rungs, target = Page.toTarget(figure.table, rung);
    const memory = ({ peak_mb }) => (peak_mb === null ? "unknown" : `${count(peak_mb)} MB`);
    const times = (value) => (value === undefined ? "not reached by every seed" : value >= 1 ? `${value.toFixed(2)} × fewer` : `${(1 / value).toFixed(2)} × more`);
    const rows = [["final loss", ...[first, rung].map(({ loss, seeds }) => plusMinus(loss, seeds))],
      [`tokens to the final loss of ${first.rung}`, count(first.tokens), rung === first ? count(first.tokens) : times(target?.tokens)],
      ["seconds to it", count(first.tokens * first.seconds_per_token), rung === first ? count(first.tokens * first.seconds_per_token) : times(target?.time)],
      ["tokens per second", count(1 / first.seconds_per_token), count(1 / rung.seconds_per_token)],
      ["factor of its learning rate", `× ${first.factor}`, `× ${rung.factor}`], ["parameters", count(first.parameters), count(rung.parameters)], ["memory of the training", memory(first), memory(rung)]];
    const cells = ([what, ...values]) => element("tr", {}, element("th", { scope: "row", text: what }), ...values.map((text) => element("td", { text })));
    return element("div", { class: "scroll" }, element("table", {}, element("thead", {}, element("tr", {}, element("td", {}),
      element("th", { scope: "col", text: first.rung }), element("th", { scope: "col", text: rung === first ? "itself" : rung.rung }))),
    element("tbody", {}, ...rows.map(cells))));
  }

  Page.step("ladder", { mount, render });
})();
