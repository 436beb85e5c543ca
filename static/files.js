/* The Files page. Every link and form works without this; here they answer without leaving the page, so that
   uploads go on. A page is fetched as it is, and the part that changes is taken from it. */
(function () {
  "use strict";

  const { gettext } = window;
  const find = (selector, root) => (root || document).querySelector(selector);
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
  const narrow = matchMedia("(max-width: 1080px)");
  let loading = null;
  let lastChoice = null;
  let opener = null;
  let following = 0;

  function announce(text) {
    const region = document.getElementById("announcer");
    if (region) region.textContent = text;
  }

  function size(bytes) {
    const units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let value = bytes;
    let unit = 0;
    while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit += 1; }
    const digits = unit && value < 9.95 ? 1 : 0;
    return value.toLocaleString(window.pageLocale, { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false }) + " " + units[unit];
  }

  /* Times arrive in the console's time zone and are shown in the browser's, unless the reader has chosen one. */
  function localTimes(root) {
    const now = new Date();
    const day = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
    all("time[data-local]", root).forEach((part) => {
      const when = new Date(part.dateTime);
      const days = Math.round((day(now) - day(when)) / 86400000);
      const clock = when.toLocaleTimeString(window.pageLocale, { hour: "2-digit", minute: "2-digit" });
      const date = { day: "numeric", month: "short" };
      if (when.getFullYear() !== now.getFullYear()) date.year = "numeric";
      if (days === 0) part.textContent = gettext("today %(time)s", { time: clock });
      else if (days === 1) part.textContent = gettext("yesterday %(time)s", { time: clock });
      else part.textContent = when.toLocaleDateString(window.pageLocale, date);
      part.title = when.toLocaleString(window.pageLocale, { dateStyle: "medium", timeStyle: "long" });
      part.removeAttribute("data-local");
    });
  }

  /* ---- fetching pages ---- */

  async function page(url, options, quiet) {
    if (!quiet) {
      if (loading) loading.abort();
      loading = new AbortController();
    }
    const mine = quiet ? null : loading;
    const files = document.getElementById("files");
    const slow = quiet ? 0 : setTimeout(() => announce(gettext("Still waiting for the backend.")), 2000);
    if (files && !quiet) files.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(url, { credentials: "same-origin", signal: mine && mine.signal, ...options });
      const text = await response.text();
      const type = response.headers.get("Content-Type") || "";
      if (!type.startsWith("text/html") || new URL(response.url).pathname === "/sign-in") {
        location.assign(response.url);
        return null;
      }
      const lost = document.getElementById("connection-lost");
      if (lost) lost.hidden = true;
      return { content: new DOMParser().parseFromString(text, "text/html"), url: response.url, ok: response.ok };
    } catch (error) {
      if (error.name === "AbortError") return null;
      const lost = document.getElementById("connection-lost");
      if (lost) lost.hidden = false;
      announce(gettext("The console does not answer."));
      return null;
    } finally {
      clearTimeout(slow);
      if (!mine || mine === loading) {
        const current = document.getElementById("files");
        if (current) current.removeAttribute("aria-busy");
      }
    }
  }

  function show(result, push, question) {
    const next = result.content.getElementById("files");
    if (!next) {
      if (result.content.getElementById("ask") || (question && result.ok)) openQuestion(result);
      else if (result.ok) location.assign(result.url);
      else showFailure(result.content);
      return;
    }
    closeQuestion();
    const focused = document.activeElement && document.activeElement.closest("#files");
    if (push) {
      history.replaceState({ scroll: scrollY }, "");
      history.pushState({ scroll: 0 }, "", result.url);
    }
    document.title = result.content.title;
    document.getElementById("files").replaceWith(document.adoptNode(next));
    takeNotices(result.content);
    prepare();
    document.dispatchEvent(new Event("files:shown"));
    if (focused || document.activeElement === document.body) {
      const target = find("[data-open]", next) || document.getElementById("main");
      target.focus({ preventScroll: true });
    }
    if (push) scrollTo(0, 0);
    announce(result.content.title);
  }

  async function go(url, push) {
    const result = await page(url);
    if (result) show(result, push !== false);
  }

  /* An error page of the console: its sentences, in a notice over the list. */
  function showFailure(content) {
    const lead = find(".lead", content);
    const next = lead && lead.parentElement.querySelector(".lead ~ p");
    toast("bad", (lead ? lead.textContent : gettext("That did not work.")) + (next ? " " + next.textContent : ""));
  }

  /* ---- messages ---- */

  function toast(kind, text, extra, symbol) {
    let region = document.getElementById("toasts");
    if (!region) {
      region = document.createElement("div");
      region.id = "toasts";
      region.setAttribute("role", "region");
      region.setAttribute("aria-label", gettext("Messages"));
      document.getElementById("main").append(region);
    }
    const part = document.createElement("div");
    part.className = "toast notice-" + kind;
    part.setAttribute("role", kind === "bad" ? "alert" : "status");
    const words = document.createElement("div");
    words.textContent = text.trim();
    if (symbol) part.append(symbol);
    part.append(words);
    if (extra) part.append(extra);
    const close = document.createElement("button");
    close.type = "button";
    close.className = "tool";
    close.setAttribute("aria-label", gettext("Close this message"));
    close.textContent = "×";
    close.addEventListener("click", () => part.remove());
    part.append(close);
    region.append(part);
    if (kind === "bad") return;
    const leave = () => {
      if (part.matches(":hover, :focus-within")) setTimeout(leave, 4000);
      else part.remove();
    };
    setTimeout(leave, extra ? 30000 : 8000);
  }

  function takeNotices(content) {
    all("#main > .notices > .notice[role=status]", content).forEach((notice) => {
      const form = find("form", notice);
      const kind = notice.classList.contains("bad") ? "bad" : "done";
      const symbol = find(".icon", notice);
      if (form) form.remove();
      toast(kind, notice.textContent, form && document.adoptNode(form), symbol && document.adoptNode(symbol));
      notice.remove();
    });
  }

  /* ---- questions: their own pages, shown as dialogs ---- */

  function dialog() {
    let part = find("dialog#question");
    if (!part) {
      part = document.createElement("dialog");
      part.id = "question";
      part.setAttribute("aria-labelledby", "ask-title");
      part.addEventListener("close", () => {
        part.replaceChildren();
        if (opener && opener.isConnected) opener.focus();
        opener = null;
      });
      document.getElementById("main").append(part);
    }
    return part;
  }

  /* The question of a page; of a page that is not only a question, all that it says. */
  function questionOf(content) {
    const own = content.getElementById("ask");
    if (own) return document.adoptNode(own);
    const part = document.createElement("section");
    part.className = "ask";
    all("#main > :not(.notices, #connection-lost)", content).forEach((each) => part.append(document.adoptNode(each)));
    const title = find("h1", part);
    if (title) title.id = "ask-title";
    return part;
  }

  function openQuestion(result) {
    const part = dialog();
    part.replaceChildren(questionOf(result.content));
    all("[data-with-script]", part).forEach((each) => { each.hidden = false; });
    localTimes(part);
    if (!part.open) {
      opener = opener || document.activeElement;
      part.showModal();
    }
    const first = find("[data-first], [aria-invalid=true]", part) || find("input:not([type=hidden]), select", part);
    if (first) {
      first.focus();
      if (first.dataset.stem) first.setSelectionRange(0, Number(first.dataset.stem));
    }
    guardTyped(part);
  }

  function closeQuestion() {
    const part = find("dialog#question");
    if (part && part.open) part.close();
  }

  async function ask(url, from) {
    opener = from || document.activeElement;
    const result = await page(url);
    if (result) show(result, false, true);
  }

  /* The button for what cannot be undone works once the number or name is typed. */
  function guardTyped(root) {
    all("[data-typed]", root).forEach((field) => {
      const button = field.form.querySelector("[data-needs-typed]");
      if (button) button.disabled = field.value.trim() !== field.dataset.typed;
    });
  }

  async function send(form, submitter) {
    const fields = new URLSearchParams(new FormData(form, submitter));
    const action = (submitter && submitter.getAttribute("formaction")) || form.getAttribute("action");
    if (form.method === "get") {
      go(action + "?" + fields, true);
      return;
    }
    if (submitter) submitter.setAttribute("aria-busy", "true");
    const result = await page(action, { method: "POST", body: fields });
    if (submitter) submitter.removeAttribute("aria-busy");
    if (!result) return;
    const moved = new URL(result.url).pathname + new URL(result.url).search;
    show(result, moved !== location.pathname + location.search, Boolean(form.closest("dialog")));
  }

  /* ---- the list ---- */

  const rows = () => all("[data-row]");
  const choiceOf = (row) => find(".choice", row);
  const rowInHand = () => find("[data-row]:focus-within") || find("[data-row].at");

  function hold(row, focus) {
    all("[data-row].at").forEach((each) => each.classList.remove("at"));
    row.classList.add("at");
    if (focus) {
      const link = find("[data-open]", row);
      link.focus();
      row.scrollIntoView({ block: "nearest" });
    }
  }

  function counted() {
    const form = document.getElementById("selection");
    if (!form) return;
    const chosen = all(".choice:checked", form);
    const bytes = chosen.reduce((sum, each) => sum + Number(each.dataset.size), 0);
    const label = find("[data-selected]", form);
    if (label) {
      label.textContent = gettext("%(count)s selected", { count: chosen.length.toLocaleString(window.pageLocale) });
      if (bytes) {
        const more = document.createElement("span");
        more.className = "wide-only";
        more.textContent = " · " + size(bytes);
        label.append(more);
      }
    }
    const every = find("[data-all]", form);
    if (every) every.checked = false;
    const clear = find("[data-clear]", form);
    if (clear) clear.checked = true;
    const one = find("[data-one]", form);
    if (one) one.hidden = chosen.length !== 1 || chosen[0].value.endsWith("/");
  }

  function choose(box, on) {
    box.checked = on;
    counted();
    announce(gettext("%(count)s selected", { count: all(".choice:checked").length }));
  }

  function clearChoices() {
    all(".choice:checked").forEach((box) => { box.checked = false; });
    counted();
  }

  function move(event) {
    const list = rows();
    if (!list.length) return false;
    const held = rowInHand();
    const index = held ? list.indexOf(held) : -1;
    let step = { ArrowDown: 1, ArrowUp: -1, ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (find(".tiles")) {
      if (event.key === "ArrowDown" || event.key === "ArrowUp") step *= columns(list, index);
    } else if (event.key === "ArrowRight" || event.key === "ArrowLeft") return false;
    const next = index < 0 ? 0 : Math.min(Math.max(index + step, 0), list.length - 1);
    hold(list[next], true);
    if (event.shiftKey) choose(choiceOf(list[next]), true);
    followPane(list[next]);
    return true;
  }

  function columns(list, index) {
    const top = list[Math.max(index, 0)].offsetTop;
    return Math.max(1, list.filter((row) => row.offsetTop === top).length);
  }

  async function more(link) {
    link.setAttribute("aria-busy", "true");
    const result = await page(link.href);
    if (!result) return;
    const known = new Set(all(".choice").map((box) => box.value));
    let first = null;
    for (const id of ["folder-rows", "rows"]) {
      const target = document.getElementById(id);
      const source = result.content.getElementById(id);
      if (!target || !source) continue;
      all("[data-row]", source).forEach((row) => {
        if (known.has(choiceOf(row).value)) return;
        target.hidden = false;
        target.append(document.adoptNode(row));
        first = first || row;
      });
    }
    const foot = link.closest(".card-foot");
    const next = find("[data-more]", result.content);
    const shown = find("[data-shown]", foot);
    const values = { count: rows().length.toLocaleString(window.pageLocale) };
    shown.textContent = next ? gettext("%(count)s shown, and there are more", values) : gettext("%(count)s shown", values);
    if (next) link.replaceWith(document.adoptNode(next)); else link.remove();
    localTimes();
    if (first) hold(first, true);
    announce(shown.textContent);
  }

  /* The list again, after something has changed; what is selected and in hand stays so. */
  async function refresh() {
    if (!document.getElementById("selection") || find("dialog[open]")) return;
    const result = await page(location.href, {}, true);
    const form = document.getElementById("selection");
    const next = result && result.content.getElementById("selection");
    if (!form || !next || document.getElementById("files").hasAttribute("aria-busy")) return;
    const chosen = new Set(all(".choice:checked").map((box) => box.value));
    const held = rowInHand();
    const token = held && choiceOf(held).value;
    const focused = held && held.contains(document.activeElement);
    form.replaceWith(document.adoptNode(next));
    const sub = find(".sub", result.content);
    if (sub && find("#files .sub")) find("#files .sub").replaceWith(document.adoptNode(sub));
    const jobs = result.content.getElementById("folder-jobs");
    if (jobs) document.getElementById("folder-jobs").replaceWith(document.adoptNode(jobs));
    prepare();
    rows().forEach((row) => {
      const box = choiceOf(row);
      box.checked = chosen.has(box.value);
      if (box.value === token) hold(row, focused);
    });
    counted();
  }

  /* ---- the pane ---- */

  async function openPane(link) {
    if (narrow.matches) { go(link.dataset.pane, true); return; }
    const result = await page(link.dataset.pane + "&beside=1");
    const pane = result && result.content.getElementById("pane");
    const browser = find(".browser");
    if (!pane || !browser) { if (result) show(result, true); return; }
    const old = document.getElementById("pane");
    if (old) old.remove();
    browser.append(document.adoptNode(pane));
    browser.classList.add("with-pane");
    if (link.matches("[data-open]")) history.replaceState({ scroll: scrollY }, "", link.href);
    prepare(pane);
    announce(gettext("Preview of %(name)s", { name: pane.getAttribute("aria-label") }));
  }

  function closePane() {
    const pane = document.getElementById("pane");
    const browser = find(".browser");
    if (!pane || !browser) return false;
    const close = find("[data-close-pane]", pane);
    if (close) history.replaceState({ scroll: scrollY }, "", close.href);
    pane.remove();
    browser.classList.remove("with-pane");
    const held = rowInHand();
    if (held) hold(held, true);
    return true;
  }

  /* While the pane is open it shows the row in hand; not each one that is passed quickly. */
  function followPane(row) {
    clearTimeout(following);
    const link = find("[data-pane]", row);
    if (document.getElementById("pane") && !narrow.matches && link) {
      following = setTimeout(() => openPane(link), 250);
    }
  }

  /* ---- events ---- */

  function prepare(root) {
    all("[data-with-script]", root).forEach((part) => { part.hidden = false; });
    localTimes(root);
    counted();
  }

  function actionUrl(name, row) {
    const form = document.getElementById("selection");
    const base = form.dataset[name];
    if (!base) return "";
    const fields = new URLSearchParams(new FormData(form));
    fields.delete("csrf_token");
    fields.delete("key");
    fields.append("key", choiceOf(row).value);
    return base + "?" + fields;
  }

  document.addEventListener("click", (event) => {
    all("details.backend-menu[open], details.filter[open], .acts details[open]").forEach((part) => {
      if (!part.contains(event.target)) part.open = false;
    });
    if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey) return;
    const box = event.target.closest(".choice");
    if (box) {
      const boxes = all(".choice");
      if (event.shiftKey && lastChoice && lastChoice.isConnected) {
        const ends = [boxes.indexOf(lastChoice), boxes.indexOf(box)].sort((a, b) => a - b);
        boxes.slice(ends[0], ends[1] + 1).forEach((each) => { each.checked = box.checked; });
      }
      lastChoice = box;
      counted();
      return;
    }
    if (event.shiftKey) return;
    const link = event.target.closest("a, button");
    if (!link) {
      const row = event.target.closest("[data-row]");
      if (row && !event.target.closest("label, input") && !String(getSelection())) find("[data-open]", row).click();
      return;
    }
    if (link.matches("[data-close], .form-end a.btn") && link.closest("dialog")) { event.preventDefault(); closeQuestion(); return; }
    if (link.tagName !== "A") return;
    if (link.matches("[data-more]")) { event.preventDefault(); more(link); }
    else if (link.matches("[data-close-pane]") && find(".browser")) { event.preventDefault(); closePane(); }
    else if (link.matches("[data-pane]")) {
      event.preventDefault();
      const row = link.closest("[data-row]");
      if (row) hold(row, false);
      openPane(link);
    } else if (link.matches("[data-ask]")) { event.preventDefault(); ask(link.href, link); }
    else if (link.matches("[data-part]")) { event.preventDefault(); go(link.href, true); }
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const ours = form.closest("#files, dialog#question, #toasts");
    if (!ours) return;
    if (event.submitter && event.submitter.matches("[data-plain]")) {
      /* A download leaves the page only for a moment, so nobody is asked about running uploads. */
      window.stowageFiles.downloading = true;
      setTimeout(() => { window.stowageFiles.downloading = false; }, 3000);
      return;
    }
    event.preventDefault();
    if (event.submitter && event.submitter.matches("[data-ask]")) opener = event.submitter;
    if (ours.id === "toasts") form.closest(".toast").remove();
    send(form, event.submitter);
  });

  document.addEventListener("change", (event) => {
    const field = event.target;
    if (field.matches("[data-all], [data-clear]")) {
      const on = field.matches("[data-all]");
      all(".choice").forEach((box) => { box.checked = on; });
      counted();
      const held = find("[data-open]");
      if (held && !on) held.focus();
    } else if (field.closest("[data-on-change]")) field.form.requestSubmit();
  });

  document.addEventListener("input", (event) => {
    if (event.target.matches("[data-typed]")) guardTyped(event.target.form.parentElement);
  });
  document.addEventListener("reset", (event) => {
    if (event.target.id === "selection") setTimeout(() => { clearChoices(); }, 0);
  });
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest("[data-row]");
    if (row) hold(row, false);
  });

  document.addEventListener("keydown", (event) => {
    if (!document.getElementById("files") || find("dialog[open]")) return;
    if (event.altKey || event.isComposing) return;
    const typing = event.target.matches("input:not([type=checkbox]), select, textarea, video, audio, summary");
    if (event.key === "Escape") {
      const popover = find("details.backend-menu[open], details.filter[open], .acts details[open]");
      if (popover) { popover.open = false; find("summary", popover).focus(); }
      else if (typing && event.target.type === "search") { const held = rows()[0]; if (held) hold(held, true); else event.target.blur(); }
      else if (!closePane()) clearChoices();
      return;
    }
    if (typing) return;
    if ((event.ctrlKey || event.metaKey) && event.key === "a" && event.target.closest("#selection")) {
      event.preventDefault();
      all(".choice").forEach((box) => { box.checked = true; });
      counted();
      return;
    }
    if (event.ctrlKey || event.metaKey) return;
    const held = rowInHand();
    if (event.key === "/") {
      const field = find(".search [type=search]");
      if (field) { event.preventDefault(); field.focus(); field.select(); }
    } else if (event.key.startsWith("Arrow")) {
      if (event.target.closest("[data-row]") || event.target === document.body || event.target.id === "main") {
        if (move(event)) event.preventDefault();
      }
    } else if (event.key === " " && held && event.target.matches("[data-open]")) {
      event.preventDefault();
      lastChoice = choiceOf(held);
      choose(lastChoice, !lastChoice.checked);
    } else if (event.key === "F2" && held) {
      const url = actionUrl("rename", held);
      if (url) { event.preventDefault(); ask(url, find("[data-open]", held)); }
    } else if (event.key === "Delete" && (held || find(".choice:checked"))) {
      const button = find(".selbar [value=delete]");
      if (!button) return;
      if (!find(".choice:checked")) choose(choiceOf(held), true);
      opener = held && find("[data-open]", held);
      button.form.requestSubmit(button);
    }
  });

  document.addEventListener("load", (event) => {
    if (event.target instanceof HTMLImageElement) event.target.classList.remove("pending");
  }, true);
  /* A thumbnail that cannot be made, or not at once: tried once more, then an icon takes its place. */
  document.addEventListener("error", (event) => {
    const image = event.target;
    if (!(image instanceof HTMLImageElement) || !image.closest("[data-row]")) return;
    if (!image.dataset.again) {
      image.dataset.again = "1";
      image.classList.add("pending");
      const source = image.getAttribute("src");
      setTimeout(() => { image.src = ""; image.src = source; }, 2000 + 4000 * Math.random());
      return;
    }
    const sprite = find("use[href*='icons.svg']");
    const frame = document.createElement("span");
    frame.className = image.className.replace("pending", "");
    if (sprite) {
      const symbol = sprite.closest("svg").cloneNode(true);
      find("use", symbol).setAttribute("href", sprite.getAttribute("href").replace(/#.*/, "#" + (image.dataset.icon || "image")));
      frame.append(symbol);
    }
    image.replaceWith(frame);
  }, true);

  addEventListener("popstate", async (event) => {
    if (!document.getElementById("files")) return;
    const result = await page(location.href);
    if (!result) return;
    show(result, false);
    if (event.state) scrollTo(0, event.state.scroll || 0);
  });

  document.addEventListener("files:changed", () => { refresh(); });
  /* While the runner changes a folder, the list shows it. */
  setInterval(() => { if (find("#folder-jobs[data-running]") && !document.hidden) refresh(); }, 3000);
  window.stowageFiles = { size, announce, toast, downloading: false };

  if (document.getElementById("files")) {
    history.replaceState({ scroll: scrollY }, "");
    takeNotices(document);
    prepare();
  }
  guardTyped(document);
})();
