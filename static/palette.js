/* The palette: Ctrl-K (or Cmd-K) searches the whole console. Without JavaScript its link leads to a page. */
(function () {
  "use strict";
  var link = document.querySelector("[data-palette]");
  if (!link || !window.HTMLDialogElement) return;
  var dialog, input, list, timer, asked, before;

  function build() {
    dialog = document.createElement("dialog");
    dialog.className = "palette";
    dialog.setAttribute("aria-label", window.gettext("Search the console"));
    input = document.createElement("input");
    input.type = "search";
    input.placeholder = window.gettext("Search pages, backends, migrations, settings, files");
    input.maxLength = 100;
    input.autocomplete = "off";
    input.spellcheck = false;
    ["role:combobox", "aria-expanded:true", "aria-controls:found", "aria-autocomplete:list", "aria-label:" + window.gettext("Search the console")].forEach(function (each) {
      var at = each.indexOf(":");
      input.setAttribute(each.slice(0, at), each.slice(at + 1));
    });
    list = document.createElement("div");
    list.className = "palette-list";
    list.tabIndex = 0;
    list.setAttribute("aria-live", "polite");
    dialog.append(input, list);
    document.body.append(dialog);
    input.addEventListener("input", function () { clearTimeout(timer); timer = setTimeout(load, 120); });
    input.addEventListener("keydown", press);
    dialog.addEventListener("click", function (event) { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("close", function () {
      if (asked) asked.abort();
      if (before && before.isConnected) before.focus();
    });
  }

  function open() {
    if (document.querySelector("dialog[open]")) return;
    if (!dialog) build();
    before = document.activeElement;
    input.value = "";
    list.textContent = "";
    dialog.showModal();
    input.focus();
    load();
  }

  function load() {
    if (asked) asked.abort();
    asked = new AbortController();
    fetch(link.href + "?q=" + encodeURIComponent(input.value), { headers: { "HX-Request": "true" }, signal: asked.signal, redirect: "error" })
      .then(function (response) {
        if (!response.ok) throw new Error(response.status);
        return response.text();
      })
      .then(function (text) {
        list.replaceChildren.apply(list, new DOMParser().parseFromString(text, "text/html").body.childNodes);
        choose(options()[0]);
      })
      .catch(function (error) {
        if (error.name !== "AbortError") list.textContent = window.gettext("The console does not answer. Try again, or reload the page.");
      });
  }

  function options() { return Array.prototype.slice.call(list.querySelectorAll("[role=option]")); }
  function chosen() { return list.querySelector("[role=option][aria-selected=true]"); }

  function choose(next) {
    options().forEach(function (each) { each.setAttribute("aria-selected", each === next ? "true" : "false"); });
    if (!next) { input.removeAttribute("aria-activedescendant"); return; }
    input.setAttribute("aria-activedescendant", next.id);
    next.scrollIntoView({ block: "nearest" });
  }

  function press(event) {
    var all = options(), at = all.indexOf(chosen());
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (all.length) choose(all[(at + (event.key === "ArrowDown" ? 1 : all.length - 1)) % all.length]);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (chosen()) chosen().click();
    } else if (event.key === "Escape" && input.value === "") {
      dialog.close();
    }
  }

  document.addEventListener("keydown", function (event) {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      open();
    }
  });
  link.addEventListener("click", function (event) {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open();
  });
})();
