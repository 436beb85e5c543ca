/* Runs before the first paint, so that a chosen theme never flashes in. What a signed-in person has chosen is in
   the page already, and is remembered for the pages before the next sign-in. */
(function () {
  "use strict";
  var root = document.documentElement;
  root.classList.add("js");
  try {
    if (root.dataset.themeChoice) localStorage.setItem("stowage-theme", root.dataset.themeChoice);
    var chosen = localStorage.getItem("stowage-theme");
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  } catch (blocked) { /* storage may be forbidden: the system's theme is used */ }
})();
