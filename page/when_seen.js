// Work that waits until its reader comes near.
"use strict";
(() => {
  const Page = (window.Page ??= {});

  /** Calls `work` once, when `node` first comes within a screen of what is visible. */
  function whenSeen(node, work) {
    const observer = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      work();
    }, { rootMargin: "100% 0%" });
    observer.observe(node);
  }

  Object.assign(Page, { whenSeen });
})();
