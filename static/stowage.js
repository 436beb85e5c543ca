/* What HTML cannot do by itself. Every page works without it; live parts then need a reload. */
(function () {
  "use strict";

  var themes = ["auto", "light", "dark"];
  var names = { auto: "as the system", light: "light", dark: "dark" };

  function theme() { return document.documentElement.dataset.theme || "auto"; }

  function showTheme() {
    document.querySelectorAll("[data-theme-toggle]").forEach(function (button) {
      button.hidden = false;
      button.setAttribute("aria-label", "Theme: " + names[theme()] + ". Change it.");
      button.title = "Theme: " + names[theme()];
      button.querySelectorAll("[data-theme-icon]").forEach(function (icon) {
        icon.hidden = icon.dataset.themeIcon !== theme();
      });
    });
  }

  function nextTheme() {
    var next = themes[(themes.indexOf(theme()) + 1) % themes.length];
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      if (next === "auto") localStorage.removeItem("stowage-theme");
      else localStorage.setItem("stowage-theme", next);
    } catch (blocked) { /* the choice then lasts as long as the page */ }
    showTheme();
    announce("Theme: " + names[next]);
  }

  /* One polite live region. Polled fragments say what they are with data-announce; it is read out
     only when the sentence changes, not every time the figures do. */
  var said = "";
  function announce(text) {
    var region = document.getElementById("announcer");
    if (!region || !text || text === said) return;
    said = text;
    region.textContent = text;
  }
  function announceParts() {
    document.querySelectorAll("[data-announce]").forEach(function (part) { announce(part.dataset.announce); });
  }

  function copy(button) {
    var source = document.getElementById(button.dataset.copy);
    var text = source.textContent;
    var label = button.querySelector("[data-label]") || button;
    function done() {
      var before = label.textContent;
      label.textContent = "Copied";
      announce("Copied.");
      setTimeout(function () { label.textContent = before; }, 1600);
    }
    /* The clipboard API exists only on HTTPS and localhost. */
    if (navigator.clipboard) { navigator.clipboard.writeText(text).then(done, select); } else { select(); }
    function select() {
      var range = document.createRange();
      range.selectNodeContents(source);
      var selection = getSelection();
      selection.removeAllRanges();
      selection.addRange(range);
      if (document.execCommand("copy")) done();
    }
  }

  /* An error about a field's previous value does not apply to a new one. */
  function forgive(field) {
    var said = document.getElementById(field.id + "-error");
    if (said) said.remove();
    field.removeAttribute("aria-invalid");
    if (document.getElementById(field.id + "-hint")) field.setAttribute("aria-describedby", field.id + "-hint");
    else field.removeAttribute("aria-describedby");
  }

  /* Generated here and shown, so that the user can keep a copy before the key is sealed. */
  function makeKey(button) {
    var field = document.getElementById(button.dataset.makeKey);
    var bytes = crypto.getRandomValues(new Uint8Array(32));
    field.type = "text";
    field.autocomplete = "off";
    field.value = btoa(String.fromCharCode.apply(null, bytes));
    forgive(field);
    field.focus();
    field.select();
    announce("A new key is in the field. Keep a copy of it.");
  }

  /* A key file is read here into its field; the file itself is not uploaded. */
  function readFile(picker) {
    var field = document.getElementById(picker.dataset.fills);
    var file = picker.files[0];
    picker.value = "";
    if (!file) return;
    if (file.size > 65536) { announce(file.name + " is too large for a key."); field.focus(); return; }
    file.text().then(function (text) {
      field.value = text;
      forgive(field);
      field.focus();
      announce(file.name + " is in the field.");
    }, function () { announce(file.name + " cannot be read."); });
  }

  /* “The endpoint becomes …”, updated while the fields it depends on are edited. */
  function preview() {
    document.querySelectorAll("[data-pattern]").forEach(function (shown) {
      var text = shown.dataset.pattern.replace(/\{(\w+)\}/g, function (whole, name) {
        var field = document.getElementById("option-" + name);
        return field && field.value ? field.value.trim() : (field && field.tagName === "SELECT" ? "" : "…");
      });
      if (shown.textContent !== text) shown.textContent = text;
    });
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-theme-toggle], [data-copy], [data-make-key]");
    if (!button) return;
    if (button.dataset.copy) copy(button);
    else if (button.dataset.makeKey) makeKey(button);
    else nextTheme();
  });
  document.addEventListener("input", preview);
  document.addEventListener("change", function (event) {
    if (event.target.dataset.fills) readFile(event.target);
  });

  document.addEventListener("htmx:configRequest", function (event) {
    var token = document.querySelector("meta[name=csrf-token]");
    if (token && event.detail.verb !== "get") event.detail.headers["X-CSRFToken"] = token.content;
  });
  /* If a pressed button is replaced by another one (Pause by Resume), the new one gets the focus. */
  var pressed = false;
  document.addEventListener("htmx:beforeRequest", function (event) {
    if (event.detail.elt.closest("#actions")) pressed = true;
  });
  document.addEventListener("htmx:afterSettle", function () {
    if (pressed && (document.activeElement === document.body || !document.activeElement)) {
      var next = document.querySelector("#actions .btn:not([disabled])");
      if (next) next.focus();
    }
    pressed = false;
    announceParts();
  });
  document.addEventListener("htmx:sendError", function () {
    var lost = document.getElementById("connection-lost");
    if (lost) lost.hidden = false;
    announce("The console does not answer. Trying again.");
  });
  document.addEventListener("htmx:afterRequest", function (event) {
    var lost = document.getElementById("connection-lost");
    if (lost && event.detail.xhr && event.detail.xhr.status) lost.hidden = true;
  });

  function start() {
    document.querySelectorAll("[data-with-script]").forEach(function (part) { part.hidden = false; });
    showTheme();
    preview();
    var first = document.querySelector("[aria-invalid=true]");
    if (first) first.focus();
  }
  start();
})();
