// Long work in turns. Whatever may take long is written as a generator: it yields where it can
// pause, and what it yields, if anything, says how far it has come ({share: 0 … 1, …}).
"use strict";
Page.shared((Page) => {
  const TURN = 40; // ms of work between two breaths
  const FIRST = 10; // of the first turn, which begins while other figures wait to be drawn

  /** All of it at once; what it returns. */
  function finish(work) {
    for (;;) {
      const { done, value } = work.next();
      if (done) return value;
    }
  }

  /** Turn by turn; null once cancelled() says so. */
  async function inTurns(work, { onProgress = () => {}, cancelled = () => false, rest = breathe } = {}) {
    for (let since = performance.now(), turn = FIRST, progress; ;) {
      const { done, value } = work.next();
      if (done) return value;
      progress = value ?? progress;
      if (performance.now() - since < turn) continue;
      if (progress) onProgress(progress);
      await rest();
      if (cancelled()) return null;
      [since, turn, progress] = [performance.now(), TURN, undefined];
    }
  }

  /** A part of a longer work, which has `pauses` of them: how far the whole is, from … to. */
  function* part(work, from, to, pauses) {
    for (let n = 0; ; n++) {
      const { done, value } = work.next();
      if (done) return value;
      yield { share: from + (to - from) * Math.min(1, n / pauses) };
    }
  }

  /** Let the browser draw and answer before the next piece of long work. */
  function breathe() {
    return new Promise((resolve) => setTimeout(resolve));
  }

  Object.assign(Page, { finish, inTurns, part, breathe });
});
