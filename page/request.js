// A figure's question to the model. A small model answers at once. A large one takes a while, so
// where the answer costs more than the pass that all figures share, its reader asks for it with a
// button, sees how far it is, and can cancel.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const { element, keep, readout } = Page;

  /** options: {task (of tasks.js), draw(answer, question), label: of the button that asks a large
   *  model (none: it is cheap, and asked at once), progress(partial, question): draws what there
   *  is so far, turns: a small model is asked a little at a time, too, lasting: the answer does not
   *  depend on the prompt, failed(error)}. Returns {offer(question), start(question), stop(),
   *  withdraw(): there is nothing to ask}. */
  function request(box, state, options) {
    const { task, draw, label, progress, turns, lasting, failed } = options;
    let job = null, question = null;
    const row = label && keep(box, `request ${task}`, () => element("div", { class: "controls", hidden: true }));
    if (row) {
      Page.button(row, { label, onClick: () => start() });
      Page.button(row, { label: "Cancel", onClick: () => { if (job) offer(question); } });
    }

    /** Another question: answered now, or when it is asked for. */
    function offer(next) {
      stop();
      question = next;
      const waits = Boolean(row) && !state.engine.isLocal;
      if (row) row.hidden = !waits;
      if (!waits) return start();
      box.classList.add("waiting");
      readout(box, `This model is large, and this takes a while. Press “${label}” to begin.`);
    }

    function start(next = question) {
      stop();
      question = next;
      if (row && !row.hidden) readout(box, "Computing: 0 % …");
      job = state.engine.ask(task, question, { turns, lasting,
        progress: (partial) => show(partial, next),
        done: (answer) => { finish(); draw(answer, next); },
        failed: failed && ((error) => { finish(); failed(error); }) });
    }

    function show(partial, asked) {
      if (progress) {
        box.classList.remove("waiting");
        progress(partial, asked);
      } else if (row && !row.hidden) readout(box, `Computing: ${Math.round(100 * partial.share)} % …`);
    }

    function finish() {
      job = null;
      box.classList.remove("waiting");
    }

    function stop() {
      job?.cancel();
      job = null;
    }

    function withdraw() {
      stop();
      if (row) row.hidden = true;
      box.classList.remove("waiting");
    }

    return { offer, start, stop, withdraw };
  }

  Object.assign(Page, { request });
})();
