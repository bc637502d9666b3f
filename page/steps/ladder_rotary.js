// Step 11, second part: positions as angles between a query and a key.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, svg, keep, readout, format, decimals } = Page;
  const MOST_DIALS = 16, FARTHEST = 96, RADIUS = 25;
  const local = { layer: 0, head: 0, key: null, shift: 0, vectors: null, seen: false };
  let box, curveBox, picker, slider, ask;

  function mount(root, state) {
    [box, curveBox] = [Page.slot(root, "hands"), Page.slot(root, "distance")];
    const row = Page.controls(box);
    picker = Page.headPicker(row, local, () => offer());
    slider = Page.slider(row, { label: "Move both by", min: 0, max: 100, value: 0, format: (value) => `${value} places`,
      onInput: (value) => { local.shift = value; draw(state); } });
    ask = Page.request(box, state, { task: "headVectors", draw: ({ raw, normed }) => { local.vectors = normed ?? raw; draw(state); } });
    for (const each of [box, curveBox]) readout(each, "Measuring …");
    Page.whenSeen(root, () => { local.seen = true; render(state, "model"); });
  }

  function offer() {
    if (local.seen) ask.offer({ layer: local.layer, head: local.head });
  }

  function render(state, change) {
    picker.follow(state.model.config);
    if (change !== "pin" || local.key > state.pinned) local.key = Math.max(0, Math.min(local.key ?? state.pinned - 4, state.pinned));
    if (change === "pin" || change === "resize") return void draw(state);
    if (change === "theme") return;
    local.vectors = null; // they were those of another text
    offer();
  }

  const baseOf = ({ variant }) => variant.rotary_base;

  function draw(state) {
    const { head_size: K } = state.model.config, { pinned } = state, { key } = local;
    if (!local.vectors) return;
    if (K % 2) return void explainOdd(K);
    const row = (x, t) => x.subarray(t * K, (t + 1) * K), query = row(local.vectors.queries, pinned), other = row(local.vectors.keys, key);
    const shown = state.shown();
    Page.chips(box, { label: "Tokens up to the pinned one; press one to take its key", tokens: shown.slice(0, pinned + 1), pinned: key,
      onPick: (s) => { local.key = s; draw(state); } });
    drawDials(query, other, state);
    drawDistance(query, other, state);
  }

  function explainOdd(K) {
    for (const each of [box, curveBox]) {
      keep(each, "plot", () => element("div", { class: "plot" })).replaceChildren();
      readout(each, `The heads of this model have ${K} channels: rotary positions need an even number, since they turn pairs.`);
    }
    keep(box, "dials", () => element("div", { class: "dials" })).replaceChildren();
  }

  /** Query and key of each pair as two hands, turned by their places. */
  function drawDials(query, key, { pinned, model: { config } }) {
    const K = query.length, half = K / 2, base = baseOf(config), [at, from] = [pinned + local.shift, local.key + local.shift];
    const turned = [[query, at], [key, from]].map(([x, place]) => Page.rotate(x, { T: 1, K, start: place }, base));
    const count = Math.min(half, MOST_DIALS), pairs = Array.from({ length: count }, (_, n) => Math.round((n * (half - 1)) / Math.max(1, count - 1)));
    const longest = Math.max(1e-9, ...turned.flatMap((x) => pairs.map((i) => Math.hypot(x[i], x[i + half]))));
    keep(box, "dials", () => element("div", { class: "dials" })).replaceChildren(...pairs.map((i) =>
      dial(turned.map((x) => [x[i], x[i + half]].map((value) => (value / longest) * (RADIUS - 3))), turnsIn(i, K, base))));
    tellScores(turned, query, key, config);
  }

  /** Places after which a pair is where it began. */
  const turnsIn = (i, K, base) => 2 * Math.PI * base ** ((2 * i) / K);

  function dial(hands, turn) {
    const side = 2 * RADIUS + 2, middle = RADIUS + 1;
    const hand = ([x, y], name) => svg("line", { class: `hand ${name}`, x1: middle, y1: middle, x2: (middle + x).toFixed(2), y2: (middle - y).toFixed(2) });
    return element("div", { class: "dial" }, svg("svg", { width: side, height: side, viewBox: `0 0 ${side} ${side}`, "aria-hidden": "true" },
      svg("circle", { class: "face", cx: middle, cy: middle, r: RADIUS }), hand(hands[0], "query"), hand(hands[1], "key")),
    element("span", { text: turn < 100 ? turn.toFixed(1) : turn >= 10000 ? `${Math.round(turn / 1000)} k` : String(Math.round(turn)) }));
  }

  function tellScores(turned, query, key, config) {
    const K = query.length, score = (q, k) => Page.dot(q, 0, k, 0, K) / Math.sqrt(K), { pinned } = Page.state, shown = Page.state.shown();
    const here = [[query, pinned], [key, local.key]].map(([x, place]) => Page.rotate(x, { T: 1, K, start: place }, baseOf(config)));
    const [before, after] = [score(...here), score(...turned)];
    const own = config.variant.positions === "rotary" ? "This model has rotary positions, so that is its own score."
      : "This model adds a vector for each position instead; its queries and keys are turned here in the page, to show what rotary positions do.";
    readout(box, `Block ${local.layer}, head ${local.head}: the query of ${shown[pinned]} at position ${pinned} and the key of ${shown[local.key]} at position ${local.key}. `
      + `Score not turned: ${format(score(query, key))}. Turned by their places: ${decimals(before, 4)}; both moved by ${local.shift}, at ${pinned + local.shift} and ${local.key + local.shift}: `
      + `${decimals(after, 4)}. The hands turn, the angle between them stays: only the distance, ${pinned - local.key}, is in the score. ${own}`);
  }

  /** The same query and key at other distances, pair by pair. */
  function drawDistance(query, key, { pinned, model: { config } }) {
    const half = query.length / 2, base = baseOf(config), distance = pinned - local.key;
    const most = Math.max(FARTHEST, distance), at = Array.from({ length: 4 * most + 1 }, (_, n) => n / 4);
    const shares = at.map((d) => Page.pairShares(query, key, d, base)), sum = (values) => values.reduce((a, b) => a + b, 0);
    const chosen = [...new Set([0, Math.floor(half / 3), half - 1])], names = ["fastest pair", "a slower pair", "slowest pair"];
    const hues = ["position", "residual", "probability"];
    Page.linePlot(curveBox, { label: "Score of this query and this key at each distance, and what three pairs add to it",
      x: "distance between query and key (places)", y: "score", height: 240, marker: distance,
      series: [{ name: "the whole score", hue: "attention", points: at.map((d, n) => [d, sum(shares[n])]) },
        ...chosen.map((i, n) => ({ name: names[n], hue: hues[n], points: at.map((d, m) => [d, shares[m][i]]) }))],
      points: [{ x: distance, y: sum(shares[4 * distance]), hue: "attention", label: `distance ${distance}` }] });
    const swing = (i) => Math.max(...shares.map((each) => each[i])) - Math.min(...shares.map((each) => each[i]));
    readout(curveBox, `At distance ${distance} all ${half} pairs together give ${format(sum(shares[4 * distance]))}. Over ${most} places the fastest pair turns ${(most / turnsIn(0, query.length, base)).toFixed(1)} times `
      + `and its share swings by ${format(swing(0))}; the slowest turns by ${format((360 * most) / turnsIn(half - 1, query.length, base))}° and its share by ${format(swing(half - 1))}.`);
  }

  Page.step("ladder", { mount, render });
})();
