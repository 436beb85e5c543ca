/* What HTML cannot do by itself. Every page works without it; live parts then need a reload. */
(function () {
  "use strict";

  var themes = ["auto", "light", "dark"];
  var gettext = window.gettext;
  var names = { auto: gettext("Theme: as the system"), light: gettext("Theme: light"), dark: gettext("Theme: dark") };

  function theme() { return document.documentElement.dataset.theme || "auto"; }

  function showTheme() {
    document.querySelectorAll("[data-theme-toggle]").forEach(function (button) {
      button.hidden = false;
      button.setAttribute("aria-label", gettext("%(theme)s. Change it.", { theme: names[theme()] }));
      button.title = names[theme()];
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
    announce(names[next]);
    save(next);
  }

  /* A signed-in person's choice is kept on the server; this browser keeps it too, if that fails. */
  function save(next) {
    var button = document.querySelector("[data-theme-toggle][data-saves]");
    var token = document.querySelector("meta[name=csrf-token]");
    if (!button || !token) return;
    var body = new URLSearchParams({ theme: next });
    fetch(button.dataset.saves, { method: "POST", credentials: "same-origin", body: body, headers: { "X-CSRFToken": token.content } }).catch(function () {});
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
      label.textContent = gettext("Copied");
      announce(gettext("Copied."));
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
    announce(gettext("A new key is in the field. Keep a copy of it."));
  }

  /* A key file is read here into its field; the file itself is not uploaded. */
  function readFile(picker) {
    var field = document.getElementById(picker.dataset.fills);
    var file = picker.files[0];
    picker.value = "";
    if (!file) return;
    if (file.size > 65536) { announce(gettext("%(name)s is too large for a key.", { name: file.name })); field.focus(); return; }
    file.text().then(function (text) {
      field.value = text;
      forgive(field);
      field.focus();
      announce(gettext("%(name)s is in the field.", { name: file.name }));
    }, function () { announce(gettext("%(name)s cannot be read.", { name: file.name })); });
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

  /* Fields that mean nothing with what else is chosen are hidden and not sent. */
  function reveal() {
    document.querySelectorAll("[data-shown-with]").forEach(function (part) {
      var form = part.closest("form");
      var field = form && form.elements[part.dataset.shownWith];
      var shown = !field || part.dataset.values.split(" ").indexOf(field.value) >= 0 || part.querySelector("[aria-invalid=true]");
      part.toggleAttribute("data-off", !shown);
      part.querySelectorAll("input, select, textarea").forEach(function (each) { each.disabled = !shown; });
    });
  }

  /* What the server says about a field of the form that is open: beside the field, which gets the focus. */
  function blame() {
    var panel = document.querySelector("[data-wrong]");
    var field = panel && document.getElementById(panel.dataset.wrong);
    if (!panel) return;
    delete panel.dataset.wrong;
    if (!field) return;
    forgive(field);
    var line = document.createElement("div");
    line.className = "error";
    line.id = field.id + "-error";
    line.textContent = (panel.querySelector("[role=alert]") || panel).textContent.trim().replace(/\s+/g, " ");
    (field.closest(".choices") || field).after(line);
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", (line.id + " " + (field.getAttribute("aria-describedby") || "")).trim());
    reveal();
    for (var part = field.closest("details:not([open])"); part; part = part.parentElement.closest("details:not([open])")) part.open = true;
    var extra = field.closest(".extra");
    if (extra) extra.querySelector(".switch").checked = true;
    field.focus();
    field.scrollIntoView({ block: "center" });
  }

  /* A list that narrows while somebody types; Enter takes the only one left. */
  function filter(input) {
    var words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    var list = document.getElementById(input.dataset.filters), left = [];
    list.querySelectorAll("[data-words]").forEach(function (each) {
      var own = each.dataset.words.split(" ");
      each.hidden = !words.every(function (word) { return own.some(function (one) { return one.indexOf(word) === 0; }); });
      if (!each.hidden) left.push(each);
    });
    list.querySelectorAll("[data-group]").forEach(function (group) { group.hidden = !group.querySelector("[data-words]:not([hidden])"); });
    var nothing = list.querySelector("[data-nothing]");
    if (nothing) nothing.hidden = left.length > 0;
    return left;
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-theme-toggle], [data-copy], [data-make-key], [data-check]");
    if (!button) return;
    if (button.dataset.copy) copy(button);
    else if (button.dataset.check) {
      var box = document.getElementById(button.dataset.check);
      box.checked = true;
      box.dispatchEvent(new Event("input", { bubbles: true }));
      box.focus();
    }
    else if (button.dataset.makeKey) makeKey(button);
    else nextTheme();
  });
  document.addEventListener("input", function (event) {
    var field = event.target;
    preview();
    if (field.getAttribute("aria-invalid") === "true") forgive(field);
    if (field.dataset.filters) { filter(field); return; }
    if (field.form && field.form.id === "backend-form") {
      reveal();
      var state = document.getElementById("test-state");
      var tested = document.querySelector("#probe [name=tested]");
      if (tested) tested.remove();
      if (state && state.querySelector(".sign")) state.textContent = gettext("Changed since the last test.");
    }
  });
  document.addEventListener("keydown", function (event) {
    if (event.key !== "Enter" || !event.target.dataset || !event.target.dataset.filters) return;
    var left = filter(event.target);
    if (left.length === 1) { event.preventDefault(); left[0].querySelector("a").click(); }
  });
  document.addEventListener("change", function (event) {
    if (event.target.dataset.fills) readFile(event.target);
  });

  document.addEventListener("htmx:configRequest", function (event) {
    var token = document.querySelector("meta[name=csrf-token]");
    if (token && event.detail.verb !== "get") event.detail.headers["X-CSRFToken"] = token.content;
    if (isPolled(event.detail)) askIfChanged(event);
  });

  /* Live parts are asked for again and again: not while nobody sees the page, less often while nothing
     changes, and what has not changed is neither sent nor touched. */
  var PATIENCE = 5, MOST_SKIPPED = 3;
  var polled = {}, page = Math.random().toString(36).slice(2);
  function isPolled(request) {
    return request.verb === "get" && request.elt.id && (request.elt.getAttribute("hx-trigger") || "").indexOf("every ") === 0;
  }
  function askIfChanged(event) {
    var known = polled[event.detail.elt.id], cause = event.detail.triggeringEvent;
    var woken = cause && cause.type === "wake";
    var skipped = known && !woken && known.skip > 0;
    if (skipped) known.skip -= 1;
    event.detail.headers["X-Stowage-Page"] = page;
    if (skipped || document.hidden) event.preventDefault();
    else if (known && known.tag && known.path === event.detail.path) event.detail.headers["If-None-Match"] = known.tag;
  }
  document.addEventListener("htmx:afterRequest", function (event) {
    var request = event.detail.requestConfig, xhr = event.detail.xhr, target = event.detail.target;
    if (!request || !xhr || !target) return;
    var known = polled[target.id];
    if (xhr.status === 304) {
      if (!known) return;
      known.unchanged += 1;
      known.skip = Math.max(0, Math.min(known.unchanged - PATIENCE, MOST_SKIPPED));
    } else if (isPolled(request) && xhr.status === 200) {
      polled[target.id] = { tag: xhr.getResponseHeader("ETag"), path: request.path, unchanged: 0, skip: 0 };
    } else delete polled[target.id];
  });
  document.addEventListener("visibilitychange", function () {
    if (document.hidden) return;
    document.querySelectorAll("[hx-trigger^='every ']").forEach(function (part) { htmx.trigger(part, "wake"); });
  });

  /* What somebody had opened, scrolled or reached with the keyboard stays so in the new part. htmx itself keeps
     the focus of what has an id. */
  var kept = null;
  var REACHABLE = "a[href], button, summary, input, select, textarea, [tabindex]";
  function alike(root, part) {
    var name = part.getAttribute("href") || part.getAttribute("aria-label") || part.textContent.trim();
    return Array.prototype.filter.call(root.querySelectorAll(part.tagName), function (each) {
      return name === (each.getAttribute("href") || each.getAttribute("aria-label") || each.textContent.trim());
    });
  }
  function parts(root, selector) { return Array.prototype.slice.call(root.querySelectorAll(selector)); }
  document.addEventListener("htmx:beforeSwap", function (event) {
    var root = event.detail.target, active = document.activeElement;
    kept = null;
    if (!root || !root.id || !event.detail.shouldSwap || !isPolled(event.detail.requestConfig)) return;
    kept = { id: root.id, open: [], scrolled: [], focus: null };
    parts(root, "details").forEach(function (each, index) { if (each.open) kept.open.push(each.id || index); });
    parts(root, ".scroll").forEach(function (each) { kept.scrolled.push([each.scrollTop, each.scrollLeft]); });
    if (root.contains(active)) {
      kept.focus = { was: active, nth: alike(root, active).indexOf(active), at: parts(root, REACHABLE).indexOf(active) };
    }
  });
  document.addEventListener("htmx:afterSwap", function () {
    var root = kept && document.getElementById(kept.id);
    if (!root) return;
    parts(root, "details").forEach(function (each, index) {
      if (kept.open.indexOf(each.id || index) >= 0) each.open = true;
    });
    parts(root, ".scroll").forEach(function (each, index) {
      var before = kept.scrolled[index];
      if (before) { each.scrollTop = before[0]; each.scrollLeft = before[1]; }
    });
    if (kept.focus && (!document.activeElement || document.activeElement === document.body)) {
      var next = alike(root, kept.focus.was)[kept.focus.nth] || parts(root, REACHABLE)[kept.focus.at];
      if (next) next.focus({ preventScroll: true });
    }
    kept = null;
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
    blame();
    announceParts();
  });
  document.addEventListener("htmx:sendError", function () {
    var lost = document.getElementById("connection-lost");
    if (lost) lost.hidden = false;
    announce(gettext("The console does not answer. Trying again."));
  });
  document.addEventListener("htmx:afterRequest", function (event) {
    var lost = document.getElementById("connection-lost");
    if (lost && event.detail.xhr && event.detail.xhr.status) lost.hidden = true;
  });

  function start() {
    document.querySelectorAll("[data-with-script]").forEach(function (part) { part.hidden = false; });
    showTheme();
    preview();
    reveal();
    var first = document.querySelector("[aria-invalid=true]");
    if (first) first.focus();
  }
  start();
})();
