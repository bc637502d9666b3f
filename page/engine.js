// Where a model computes. A figure asks, and gets its answer now from a small model in the page,
// later from a large one in a worker; the tasks are the same (tasks.js).
//
//   engine.ask(task, question, {done, failed, progress, turns, urgent, lasting}) -> {cancel()}, or
//   null where the answer has been given already
"use strict";
(() => {
  const Page = (window.Page ??= {});
  class LocalEngine {
    constructor(model) {
      Object.assign(this, { isLocal: true, model, host: Page.hostOf(model), open: new Set() });
    }

    /** At once, or with `turns` a little at a time. */
    ask(task, question, { done, failed, progress, turns = false, lasting = false }) {
      let on = true;
      const work = Page.tasks[task](this.host, question);
      if (!turns) return attempt(() => done(Page.finish(work)), failed);
      const answer = Page.inTurns(work, { onProgress: progress, cancelled: () => !on }).then((found) => on && done(found), failed);
      if (!lasting) this.open.add(answer);
      answer.finally(() => this.open.delete(answer));
      return { cancel: () => { on = false; } };
    }

    /** Once all that was asked about the prompt is drawn. */
    answered() {
      return Promise.allSettled(this.open);
    }

    /** The pass that all figures share. */
    read(ids, positions, done) {
      this.host.trace.update(ids);
      done(this.host.trace);
    }

    close() {}
  }

  function attempt(work, failed) {
    try {
      work();
    } catch (error) {
      if (!failed) throw error;
      failed(error);
    }
    return null;
  }

  /** The one address that may become a worker: the page's own functions, whatever is asked for. */
  function workerAddress() {
    const make = () => URL.createObjectURL(new Blob([Page.workerScript()], { type: "text/javascript" }));
    policy ??= window.trustedTypes?.createPolicy("model-worker", { createScriptURL: make });
    return policy ? policy.createScriptURL("") : make();
  }
  let policy = null;

  class WorkerEngine {
    constructor() {
      const address = workerAddress();
      Object.assign(this, { isLocal: false, worker: new Worker(address), jobs: new Map(), count: 0 });
      this.worker.onmessage = ({ data }) => this.hear(data);
      this.worker.onerror = (event) => { for (const { failed } of this.jobs.values()) failed?.(new Error(event.message)); };
    }

    /** A worker with the model of a file whose header has been checked. Throws Page.FileError. */
    static async load(file, header, config, progress) {
      const engine = new WorkerEngine();
      const { entries, dataStart } = header, load = { file, header: { entries, dataStart }, config };
      try {
        const outline = await new Promise((done, failed) => { engine.send({ load }, { done, failed, progress }); });
        engine.model = Page.buildModel(config, outline); // for its shape; it has no matrices
        return engine;
      } catch (error) {
        engine.close();
        throw error;
      }
    }

    ask(task, question, { urgent = false, ...heard }) {
      return this.send({ task, question, urgent }, heard);
    }

    send(message, heard) {
      const id = ++this.count;
      this.jobs.set(id, heard);
      this.worker.postMessage({ id, ...message });
      return { cancel: () => this.cancel(id) };
    }

    cancel(id) {
      if (this.jobs.delete(id)) this.worker.postMessage({ cancel: id });
    }

    hear({ id, progress, answer, error, name }) {
      const job = this.jobs.get(id);
      if (!job) return; // cancelled
      if (progress) return void job.progress?.(progress);
      this.jobs.delete(id);
      if (error !== undefined) job.failed?.(name === "FileError" ? new Page.FileError(error) : new Error(error));
      else job.done(answer);
    }

    /** Only the newest text is worth reading, and what was asked about another one is out of date. */
    read(ids, positions, done, progress) {
      for (const [id, { lasting }] of this.jobs) if (!lasting) this.cancel(id);
      this.ask("read", { ids, positions }, { urgent: true, progress, failed: (error) => console.error(error),
        done: ({ values, logitRows }) => done(new Page.TraceView(values, logitRows)) });
    }

    close() {
      this.worker.terminate();
    }
  }

  Object.assign(Page, { LocalEngine, WorkerEngine });
})();
