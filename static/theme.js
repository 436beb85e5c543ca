/* Runs before the first paint, so that a chosen theme never flashes in. */
(function () {
  "use strict";
  document.documentElement.classList.add("js");
  try {
    var chosen = localStorage.getItem("stowage-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch (blocked) { /* storage may be forbidden: the system's theme is used */ }
})();
