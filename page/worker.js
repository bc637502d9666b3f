// The worker's end: it holds a large model and answers the page's questions (tasks.js), one at a
// time. An urgent one is answered in the middle of a long one; a long one can be cancelled.
//
//   page -> worker   {load: {file, header, config}, id}   first of all
//                    {id, task, question, urgent}   {cancel: id}
//   worker -> page   {id, progress}   {id, answer}   {id, error, name}
"use strict";
Page.shared((Page) => {
  const LARGE = 2 ** 25; // parameters above which a model moves to a worker: 33.6 million
  const MOST_TOKENS = 256; // more would not be seen in any figure
  const MOST_TOKENS_LARGE = 128; // and a large model would read them for too long
  const TELL = 250; // ms between two messages of how far a file has been read
  const SMALL = 64; // numbers of a tensor that the page is told, too

  /** What tasks work with. */
  function hostOf(model) {
    return { model, trace: new Page.Trace(model, promptCapacity(model)), memory: {} };
  }

  /** The number of tokens a prompt may have, the one before its text included. */
  function promptCapacity({ config, parameterCount }) {
    return Math.min(config.max_seq_len, parameterCount > LARGE ? MOST_TOKENS_LARGE : MOST_TOKENS);
  }

  /** A model's tensors without the matrices: the page builds a model of them to ask for its shape. */
  function outline(tensors) {
    return new Map([...tensors].map(([name, { shape, data }]) =>
      [name, { shape, data: data.length <= SMALL ? data.subarray(0, data.length) : new Float32Array(0) }]));
  }

  function serve(scope) {
    const waiting = [], cancelled = new Set();
    let host = null, busy = 0;
    scope.onmessage = ({ data }) => {
      if (data.cancel !== undefined) return void cancelled.add(data.cancel);
      if (data.load) return void answer(data, () => load(data));
      waiting.push(data);
      if (!busy) rest();
    };

    async function load({ id, load: { file, header, config } }) {
      let told = 0;
      const tensors = await Page.readTensors(file, header, (progress) => {
        if (performance.now() - told < TELL) return;
        told = performance.now();
        scope.postMessage({ id, progress });
      });
      host = hostOf(Page.buildModel(config, tensors));
      return outline(tensors);
    }

    /** Answer what waits: inside another task only what is urgent. */
    async function rest() {
      await Page.breathe();
      for (let next; (next = take(busy > 0));) {
        busy++;
        await answer(next, () => work(next));
        busy--;
      }
    }

    function take(urgentOnly) {
      const index = waiting.findIndex(({ urgent }) => urgent || !urgentOnly);
      return index < 0 ? null : waiting.splice(index, 1)[0];
    }

    function work({ id, task, question }) {
      if (cancelled.has(id)) return null;
      return Page.inTurns(Page.tasks[task](host, question), { rest, cancelled: () => cancelled.has(id),
        onProgress: (progress) => scope.postMessage({ id, progress }) });
    }

    async function answer({ id }, make) {
      try {
        const made = await make();
        if (!cancelled.delete(id)) scope.postMessage({ id, answer: made });
      } catch (error) {
        scope.postMessage({ id, error: error.message, name: error instanceof Page.FileError ? "FileError" : error.name });
      }
    }
  }

  Object.assign(Page, { LARGE, hostOf, promptCapacity, serve });
});
