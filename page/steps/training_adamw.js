// Step 7: what AdamW makes of the gradients of two weights. training.js computes the gradients.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, keep, readout, format } = Page;
  const RATE = 3e-3; // that of the toy stories

  /** The figure in `box`: {draw(batch)}, batch: {gradients: for each sequence (R · D) summed over
   *  its tokens, lengths, rows, model}. */
  function adamwFigure(box, state) {
    const figure = { box, state, of: null };
    readout(box, "Computing gradients …");
    return { draw: (batch) => draw(figure, batch) };
  }

  function draw(figure, batch) {
    if (batch.gradients !== figure.of) Object.assign(figure, { of: batch.gradients, pair: chosen(batch) });
    for (const weight of figure.pair) drawPath(figure, weight);
    drawMoves(figure);
    describe(figure, batch);
  }

  /** The weight with the largest gradients, and the one in the middle of the order. */
  function chosen({ gradients, lengths, rows, model }) {
    const sizes = new Float64Array(gradients[0].length);
    gradients.forEach((each, s) => { for (let j = 0; j < sizes.length; j++) sizes[j] += (each[j] / lengths[s]) ** 2; });
    const order = Float64Array.from(sizes).sort(), D = model.config.d_model;
    return [["large", order.at(-1)], ["small", order[order.length >> 1]]].map(([name, size]) => {
      const at = sizes.indexOf(size), values = gradients.map((each, s) => each[at] / lengths[s]);
      return { name, token: rows[Math.floor(at / D)], number: at % D, values, path: Page.adamPath(values), size: Math.sqrt(size / gradients.length) };
    });
  }

  const nameOf = ({ state }, { token, number }) => `${state.tokenizer.show(token)}, number ${number}`;

  /** Gradients and means in units of the weight's own typical gradient. */
  function drawPath(figure, { name, values, path, size, ...weight }) {
    const holder = keep(figure.box, name, () => element("div")), line = (all) => all.map((value, i) => [i + 1, value / size]);
    Page.linePlot(holder, { label: `Gradients of the weight ${nameOf(figure, weight)} and AdamW's means of them`, height: 190,
      x: "step", y: `${name} gradients`, series: [
        { name: `gradient g, in units of ${format(size)}`, hue: "neutral", points: line(values) },
        { name: "its mean m", hue: "probability", points: line(path.map(({ m }) => m)) },
        { name: "± root of the mean square v", hue: "attention", dashed: true, points: line(path.map(({ root }) => root)) },
        { name: "", hue: "attention", dashed: true, points: line(path.map(({ root }) => -root)) }] });
  }

  /** How far a step moves each, typically: the gradient times one rate for all, and AdamW. */
  const moves = ({ size, path }) => ({ plain: RATE * size, adam: (RATE * path.reduce((sum, { move }) => sum + Math.abs(move), 0)) / path.length });

  function drawMoves(figure) {
    const items = ["plain", "adam"].flatMap((kind) => figure.pair.map((weight) => ({ hue: kind === "plain" ? "neutral" : "probability",
      label: `${kind === "plain" ? "η · g" : "AdamW"}, ${weight.name}`, value: moves(weight)[kind], text: format(moves(weight)[kind]) })));
    Page.bars(figure.box, { label: "How far a step moves the two weights", wide: true, items });
  }

  function describe(figure, { gradients, rows, model }) {
    const [large, small] = figure.pair, [first, second] = figure.pair.map(moves);
    const seen = rows.length === model.config.vocab_size ? "all weights of the table" : `the weights of ${rows.length.toLocaleString("en-US")} tokens' rows`;
    readout(figure.box, `On ${gradients.length} pieces of stories. The weights: ${nameOf(figure, large)} of the output table, and ${nameOf(figure, small)}, which is in the middle when ${seen} are `
      + `put in order. The gradients of the first are typically ${format(large.size / small.size)} times larger. With one rate for all of η = ${RATE}, a step `
      + `would move the first that many times farther: ${format(first.plain)} and ${format(second.plain)}. AdamW moves them by ${format(first.adam)} and `
      + `${format(second.adam)}: ${format(first.adam / second.adam)} times farther.`);
  }

  Object.assign(Page, { adamwFigure });
})();
