// What computes runs in two places: in the page itself for a small model, in a worker for a large
// one, so that the page never waits. A page opened from a file may not load scripts into a worker,
// nor read its own files. But a function knows the text that it was written as. So each file that
// computes is one function, given to Page.shared, which calls it here and keeps it; the worker
// begins as a blob with the texts of all of them (see engine.js). There is no second copy.
"use strict";
(() => {
  const Page = (window.Page ??= {});
  const functions = [];

  /** Run a file that computes: it gets the one object that everything is added to. */
  function shared(file) {
    file(Page);
    functions.push(file);
  }

  /** A script that does the same in a worker, and then answers the page. */
  function workerScript() {
    return ['"use strict";', "const Page = {};", ...functions.map((file) => `(${file})(Page);`), "Page.serve(self);"].join("\n");
  }

  Object.assign(Page, { shared, workerScript });
})();
