// A figure in which all heads or all neurons of the model read stories (roles.js) and which shows what
// was found of the chosen one: when it begins, what it reads, and the places in the text.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, keep, readout } = Page;
  const ENOUGH = 4000, LEAST = 1000; // tokens of stories that are read
  const AT_ONCE = 1e10; // multiply-adds that are spent on more than the least
  const SHORTEST = 8; // context of a model that is worth watching

  /** options: {task, label: of the button for a large model, what: "heads", chosen(): which one, as a
   *  text, show(found, texts): draws it}. Returns {render(change), draw(): another may have been chosen}. */
  function roleFigure(box, state, { task, label, what, chosen, show }) {
    const figure = { found: null, texts: null, shown: null, due: false, watched: false };
    const ask = Page.request(box, state, { task, label, turns: true, lasting: true,
      progress: ({ share }, { texts }) => readout(box, `Measuring: the model reads ${count(texts, "story", "stories")} with all its ${what}, ${Math.round(100 * share)} % …`),
      draw: (found, { texts }) => { Object.assign(figure, { found, texts, shown: null }); draw(); } });

    function draw() {
      box.classList.toggle("empty", !figure.found);
      const which = chosen(); // the stories stay the same, whatever the prompt is
      if (figure.found && figure.shown !== which) show(figure.found, figure.texts);
      figure.shown = figure.found ? which : null;
    }

    /** Starts when the figure's step is near what is visible. */
    function begin() {
      figure.due = true;
      if (figure.watched) return;
      figure.watched = true;
      Page.whenSeen(box.closest("section"), () => {
        figure.watched = false;
        if (figure.due) start();
      });
    }

    function start() {
      const { max_seq_len } = state.model.config;
      figure.due = false;
      if (max_seq_len < SHORTEST) readout(box, `This model's context of ${max_seq_len} tokens is too short for a look at what surrounds a token.`);
      else ask.offer({ texts: textsFor(state) });
    }

    function clear(text) {
      ask.withdraw();
      Object.assign(figure, { found: null, due: false });
      draw();
      readout(box, text);
    }

    function render(change) {
      if (change === "model") clear("Measuring …");
      else if (change === "frame") clear("The training moves on. When it stands still, its model reads the stories.");
      if (change === "model" || (change === "rest" && !figure.found)) begin();
    }

    return { render, draw };
  }

  /** Held-out stories of the toy grammar, from their beginning, as far as the context goes; a larger
   *  model reads fewer. */
  function textsFor({ model: { config, parameterCount }, tokenizer }) {
    const most = Math.max(LEAST, Math.min(ENOUGH, AT_ONCE / parameterCount)), texts = [];
    for (let tokens = 0; tokens < most && texts.length < Page.samples.stories.length; tokens += texts.at(-1).length) {
      texts.push([tokenizer.startOfText, ...tokenizer.encode(Page.samples.stories[texts.length])].slice(0, config.max_seq_len));
    }
    return texts;
  }

  const count = ({ length }, one, many) => `${length} ${length === 1 ? one : many}`;

  /** "over 3,689 positions of 32 stories" */
  function roleSpan(state, texts, positions) {
    const others = state.name === Page.modelData.name ? "" : " of the toy grammar, whatever this model was trained on";
    return `over ${positions.toLocaleString("en-US")} positions of ${count(texts, "story", "stories")}${others}`;
  }

  /** A row for each place: numbers, and the text around. places: [{cells, marks: Map position -> class,
   *  spans: [[from, to]]: what is shown}], with positions in the joined texts. */
  function rolePlaces(box, { tokenizer }, texts, { label, heads, places }) {
    const table = keep(box, "places", () => element("table", { class: "places" }));
    table.setAttribute("aria-label", label);
    const ids = texts.flat(), starts = texts.map((_, i) => texts.slice(0, i).flat().length);
    table.hidden = places.length === 0;
    table.replaceChildren(element("thead", {}, element("tr", {}, ...heads.map((text) => element("th", { scope: "col", text })))),
      element("tbody", {}, ...places.map(({ cells, marks, spans }) =>
        element("tr", {}, ...cells.map((text) => element("td", { text })), element("td", {}, ...around(tokenizer, ids, starts, marks, spans))))));
  }

  /** Tokens of the spans, … where something is left out; never beyond the text they are in. */
  function around(tokenizer, ids, starts, marks, spans) {
    const [first] = marks.keys(), from = starts.findLast((start) => start <= first), to = starts.find((start) => start > first) ?? ids.length;
    const out = [], dots = () => out.push(element("span", { class: "gap", text: "…" }));
    let last = from;
    for (const [a, b] of spans) {
      const begin = Math.max(last, a), end = Math.min(to, b + 1);
      if (begin > last) dots();
      for (let p = begin; p < end; p++) out.push(element(marks.has(p) ? "mark" : "span", { class: marks.get(p) ?? "", text: tokenizer.show(ids[p]) }));
      last = Math.max(last, end);
    }
    if (last < to) dots();
    return out;
  }

  Object.assign(Page, { roleFigure, rolePlaces, roleSpan });
})();
