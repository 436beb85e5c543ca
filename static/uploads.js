/* Uploads of the Files page: dropped or chosen, a few at a time, over tus. The list lives outside the part of
   the page that changes, so that uploads go on while the reader looks into other folders. */
(function () {
  "use strict";

  const { gettext, ngettext } = window;
  const AT_ONCE = 3;
  const WAITS = [500, 1000, 2000, 4000, 8000, 15000, 30000, 30000, 30000, 60000, 60000, 60000];
  const WORDS = {
    receiving: gettext("Receiving"), checking: gettext("Checking the content"), scanning: gettext("Scanning for viruses"),
    processing: gettext("Making previews"), storing: gettext("Storing"),
  };
  const uploads = [];
  const section = document.getElementById("uploads");
  if (!section || !window.tus) return;
  const list = section.querySelector(".rows");
  const template = section.querySelector("template");
  const chooser = section.querySelector("[data-files]");
  const token = () => document.querySelector("meta[name=csrf-token]").content;
  let refreshing = 0;

  const clock = () => new Date().toLocaleTimeString(window.pageLocale, { hour: "2-digit", minute: "2-digit" });
  const sizeOf = (bytes) => window.stowageFiles.size(bytes);

  function where() {
    const { backend, folder } = document.getElementById("files").dataset;
    return { backend, folder: folder.replace(/%([0-9a-f]{2})/g, (all, code) => String.fromCharCode(parseInt(code, 16))) };
  }

  /* Files dropped outside a folder of their own have no path; in a dropped folder it begins with its name. */
  function add(files, target) {
    files.forEach(({ file, path }) => {
      const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/") + 1) : "";
      const place = (target.folder + folder).replace(/\/+$/, "");
      const earlier = uploads.find((each) => each.state === "left" && each.file.size === file.size
        && each.name === file.name && each.folder === place && each.backend === target.backend);
      if (earlier) remove(earlier);
      show({
        file, backend: target.backend, folder: place, name: file.name, state: "waiting", sent: 0,
        id: earlier && earlier.direct ? earlier.id : "", direct: Boolean(earlier && earlier.direct),
      }, path);
    });
    if (files.length) {
      window.stowageFiles.announce(ngettext("%(num)s upload added.", "%(num)s uploads added.", files.length));
    }
    next();
  }

  function show(values, path) {
    const row = template.content.firstElementChild.cloneNode(true);
    const upload = { row, marks: [], broken: "", route: "", id: "", step: "", reason: "", ...values };
    const name = row.querySelector("[data-name]");
    name.textContent = path;
    name.title = path;
    for (const [action, act] of Object.entries({ pause, resume, cancel })) {
      const button = row.querySelector(`[data-${action}]`);
      button.dataset.of = path;
      button.addEventListener("click", () => act(upload));
    }
    uploads.push(upload);
    list.append(row);
    section.hidden = false;
    draw(upload);
    return upload;
  }

  /* What was under way before the page was reloaded. Its bytes have to be chosen again, but not sent again. */
  async function restore() {
    try {
      const response = await fetch(section.dataset.url, { credentials: "same-origin" });
      const told = response.ok ? await response.json() : { uploads: [] };
      told.uploads.forEach((each) => {
        if (["done", "refused", "failed"].includes(each.state)) return;
        const upload = show({
          file: { name: each.name, size: each.size || 0 }, backend: each.backend, folder: each.folder, name: each.name,
          id: each.id, direct: each.direct, sent: each.received, step: each.state, state: each.state === "receiving" ? "left" : "checking",
        }, (each.folder ? each.folder + "/" : "") + each.name);
        if (upload.state === "checking") follow(upload);
      });
      count();
    } catch (offline) { /* the list is only a convenience */ }
  }

  function next() {
    const running = uploads.filter((each) => each.state === "running").length;
    uploads.filter((each) => each.state === "waiting").slice(0, AT_ONCE - running).forEach(start);
    count();
  }

  function start(upload) {
    upload.state = "running";
    draw(upload);
    if (!upload.byConsole && window.stowageDirect && window.stowageDirect.takes(upload.file, upload.backend)) {
      startDirect(upload);
      return;
    }
    upload.id = "";
    upload.tus = new window.tus.Upload(upload.file, {
      endpoint: section.dataset.url,
      chunkSize: Number(section.dataset.partSize),
      retryDelays: WAITS,
      headers: { "X-CSRFToken": token() },
      metadata: {
        filename: upload.name, filetype: upload.file.type, backend: upload.backend, folder: upload.folder,
      },
      fingerprint: (file) => Promise.resolve(
        ["stowage", upload.backend, upload.folder, file.name, file.type, file.size, file.lastModified].join("|")
      ),
      removeFingerprintOnSuccess: true,
      onUploadUrlAvailable: () => { upload.id = upload.tus.url.replace(/\/+$/, "").split("/").pop(); },
      onShouldRetry: (error) => {
        const status = error.originalResponse ? error.originalResponse.getStatus() : 0;
        const again = status === 0 || status === 409 || status === 423 || status === 429 || status >= 500;
        if (again && status !== 507 && upload.state === "running") {
          upload.broken = gettext("The connection broke at %(time)s", { time: clock() });
          draw(upload);
        }
        return again && status !== 507;
      },
      onProgress: (sent) => progress(upload, sent),
      onError: (error) => failed(upload, error),
      onSuccess: () => received(upload),
    });
    upload.tus.findPreviousUploads().then((earlier) => {
      if (earlier.length) upload.tus.resumeFromPreviousUpload(earlier[0]);
      if (upload.state === "running") upload.tus.start();
    });
  }

  /* To the bucket itself; what that does not take goes through the console. */
  function startDirect(upload) {
    upload.tus = upload.tus || new window.stowageDirect.Upload(upload.file, {
      endpoint: section.dataset.url,
      id: upload.direct ? upload.id : "",
      about: { name: upload.name, content_type: upload.file.type.slice(0, 255), backend: upload.backend, folder: upload.folder },
      onUrl: () => { upload.id = upload.tus.url.split("/").pop(); },
      onBroken: () => { upload.broken = gettext("The connection broke at %(time)s", { time: clock() }); draw(upload); },
      onProgress: (sent) => progress(upload, sent),
      onError: (error) => failed(upload, error),
      onSuccess: () => received(upload),
      onThroughConsole: (reason) => {
        Object.assign(upload, { byConsole: true, tus: null, sent: 0, marks: [], broken: "", route: reason && gettext("%(reason)s, so it goes through the console", { reason }) });
        start(upload);
      },
    });
    upload.tus.start();
  }

  function received(upload) {
    upload.state = "checking";
    upload.sent = upload.file.size;
    draw(upload);
    next();
    follow(upload);
  }

  function progress(upload, sent) {
    const now = performance.now();
    if (upload.broken && sent < upload.file.size && !upload.resumed) {
      upload.resumed = true;
      upload.broken += ", " + gettext("resumed from %(percent)s %%", { percent: Math.floor(100 * sent / Math.max(1, upload.file.size)) });
    }
    upload.sent = sent;
    upload.marks.push([now, sent]);
    while (upload.marks.length > 2 && now - upload.marks[0][0] > 5000) upload.marks.shift();
    draw(upload);
  }

  function failed(upload, error) {
    if (upload.state === "paused" || upload.state === "gone") return;
    const response = error.originalResponse;
    let said = "";
    try {
      const body = JSON.parse(response.getBody());
      said = [body.error.reason, body.error.remedy].filter(Boolean).join(" ");
    } catch (unreadable) { /* not one of the console's answers */ }
    const status = response ? response.getStatus() : 0;
    upload.state = [409, 413, 415, 422, 507].includes(status) ? "refused" : "failed";
    upload.reason = said || gettext("The console could not be reached. What was received is kept for a day.");
    draw(upload);
    next();
    window.stowageFiles.announce(`${upload.name}: ${upload.reason}`);
  }

  /* What the console does with a received file. */
  async function follow(upload) {
    for (let tries = 0; upload.state === "checking" && tries < 10000; tries += 1) {
      let told = null;
      try {
        const response = await fetch(section.dataset.url + "/" + upload.id, { credentials: "same-origin" });
        if (response.ok) told = await response.json();
        else if (response.status === 404) { upload.state = "failed"; upload.reason = gettext("The console no longer knows this upload."); }
      } catch (offline) { /* it is asked again */ }
      if (told) {
        upload.step = told.state;
        if (told.state === "done") upload.state = "done";
        if (told.state === "refused" || told.state === "failed") {
          upload.state = told.state;
          const error = told.error || {};
          upload.reason = [error.reason, error.remedy].filter(Boolean).join(" ") || gettext("Nothing was stored.");
        }
      }
      draw(upload);
      if (upload.state === "checking") await new Promise((done) => { setTimeout(done, Math.min(300 + 100 * tries, 2000)); });
    }
    count();
    if (upload.state === "done") { window.stowageFiles.announce(gettext("%(name)s is stored.", { name: upload.name })); shown(); }
    else window.stowageFiles.announce(`${upload.name}: ${upload.reason || gettext("not stored")}`);
  }

  function shown() {
    clearTimeout(refreshing);
    refreshing = setTimeout(() => { document.dispatchEvent(new Event("files:changed")); }, 300);
  }

  function pause(upload) {
    if (upload.state === "running") upload.tus.abort(false);
    upload.state = "paused";
    draw(upload);
    next();
    upload.row.querySelector("[data-resume]").focus();
  }

  function resume(upload) {
    if (upload.state === "left") { chooser.click(); return; }
    if (upload.state === "failed" && upload.step === "failed") { again(upload); return; }
    upload.state = "waiting";
    upload.marks = [];
    draw(upload);
    next();
    upload.row.querySelector("[data-pause]").focus();
  }

  /* It was received completely: only what comes after that is tried again. */
  async function again(upload) {
    const response = await fetch(`${section.dataset.url}/${upload.id}/retry`, {
      method: "POST", credentials: "same-origin", headers: { "X-CSRFToken": token() },
    }).catch(() => null);
    if (!response || !response.ok) { window.stowageFiles.toast("bad", gettext("%(name)s could not be tried again.", { name: upload.name })); return; }
    upload.state = "checking";
    upload.step = "checking";
    draw(upload);
    follow(upload);
  }

  function cancel(upload) {
    if (upload.state === "left") {
      fetch(`${section.dataset.url}/${upload.id}`, {
        method: "DELETE", credentials: "same-origin", headers: { "X-CSRFToken": token(), "Tus-Resumable": "1.0.0" },
      }).catch(() => { /* it expires by itself */ });
      remove(upload);
      return;
    }
    const finished = ["done", "refused", "failed"].includes(upload.state);
    upload.state = "gone";
    if (upload.tus && !finished) upload.tus.abort(true).catch(() => { /* it expires by itself */ });
    remove(upload);
    next();
  }

  function remove(upload) {
    uploads.splice(uploads.indexOf(upload), 1);
    upload.row.remove();
    section.hidden = uploads.length === 0;
    count();
  }

  function draw(upload) {
    const { row, state } = upload;
    const total = upload.file.size;
    const percent = total ? Math.floor(100 * upload.sent / total) : 100;
    const meter = row.querySelector("[data-meter]");
    meter.hidden = !["running", "paused", "waiting", "left"].includes(state);
    meter.setAttribute("aria-valuenow", String(percent));
    meter.querySelector("rect").setAttribute("width", percent + "%");
    row.querySelector("[data-figure]").textContent = meter.hidden ? sizeOf(total) : percent + " %";
    row.querySelector("[data-pause]").hidden = state !== "running" && state !== "waiting";
    row.querySelector("[data-resume]").hidden = !["paused", "failed", "left"].includes(state);
    const cancelling = row.querySelector("[data-cancel]");
    cancelling.hidden = state === "checking";
    cancelling.title = ["done", "refused", "failed"].includes(state) ? gettext("Remove from the list") : gettext("Cancel");
    row.querySelectorAll("[data-of]").forEach((button) => {
      button.setAttribute("aria-label", `${button.title} ${button.dataset.of}`);
    });
    row.querySelector("[data-glyph]").className = "glyph" + ({ done: " ok", refused: " bad", failed: " bad" }[state] || "");
    const line = row.querySelector("[data-state]");
    line.className = "tiny num " + (state === "refused" || state === "failed" ? "bad-text" : "muted");
    line.textContent = sentence(upload);
  }

  function sentence(upload) {
    const total = upload.file.size;
    switch (upload.state) {
      case "waiting": return gettext("Waiting for its turn");
      case "paused": return gettext("Paused at %(sent)s of %(total)s", { sent: sizeOf(upload.sent), total: sizeOf(total) });
      case "left": return gettext("%(sent)s of %(total)s received. Choose the same file again to resume.", { sent: sizeOf(upload.sent), total: sizeOf(total) });
      case "checking": return WORDS[upload.step] || gettext("Received, being checked");
      case "done": return [gettext("Stored and checked"), upload.route, upload.broken].filter(Boolean).join(" · ");
      case "refused": return gettext("Refused: %(reason)s", { reason: upload.reason });
      case "failed": return upload.reason;
      default: {
        const parts = [gettext("%(sent)s of %(total)s", { sent: sizeOf(upload.sent), total: sizeOf(total) })];
        const first = upload.marks[0];
        const last = upload.marks[upload.marks.length - 1];
        if (first && last[0] - first[0] > 800 && last[1] > first[1]) {
          const rate = 1000 * (last[1] - first[1]) / (last[0] - first[0]);
          const left = (total - upload.sent) / rate;
          parts.push(sizeOf(rate) + "/s");
          parts.push(left < 60 ? gettext("less than a minute left") : gettext("%(minutes)s min left", { minutes: Math.ceil(left / 60) }));
        }
        if (upload.route) parts.push(upload.route);
        if (upload.broken) parts.push(upload.broken);
        return parts.join(" · ");
      }
    }
  }

  function count() {
    const groups = [
      [gettext("running"), ["running", "checking"]], [gettext("waiting"), ["waiting"]], [gettext("paused"), ["paused", "left"]],
      [gettext("done"), ["done"]], [gettext("refused"), ["refused"]], [gettext("failed"), ["failed"]],
    ];
    section.querySelector("[data-counts]").textContent = groups
      .map(([word, states]) => [uploads.filter((each) => states.includes(each.state)).length, word])
      .filter(([number]) => number).map(([number, word]) => `${number} ${word}`).join(" · ");
  }

  /* ---- choosing and dropping ---- */

  /* A dropped folder is read completely; browsers return its entries a hundred at a time. */
  async function walk(entry, path, found) {
    if (entry.isFile) {
      const file = await new Promise((done, fail) => { entry.file(done, fail); });
      found.push({ file, path: path + file.name });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, fail) => { reader.readEntries(done, fail); });
      if (!some.length) return;
      for (const each of some) await walk(each, path + entry.name + "/", found);
    }
  }

  async function dropped(transfer, target) {
    const entries = Array.from(transfer.items || [])
      .filter((item) => item.kind === "file")
      .map((item) => (item.webkitGetAsEntry ? item.webkitGetAsEntry() : null));
    const plain = Array.from(transfer.files).map((file) => ({ file, path: file.name }));
    if (!entries.length || entries.some((entry) => !entry)) { add(plain, target); return; }
    const found = [];
    let unread = 0;
    for (const entry of entries) {
      try { await walk(entry, "", found); } catch (unreadable) { unread += 1; }
    }
    add(found, target);
    if (unread) window.stowageFiles.toast("bad", gettext("%(count)s of what you dropped could not be read.", { count: unread }));
  }

  const overList = (event) => Array.from(event.dataTransfer ? event.dataTransfer.types : []).includes("Files")
    && document.querySelector("#files [data-drop]");

  document.addEventListener("dragover", (event) => {
    if (!overList(event)) return;
    event.preventDefault();
    document.getElementById("files").classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.getElementById("files").classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    if (!overList(event)) return;
    event.preventDefault();
    document.getElementById("files").classList.remove("dragging");
    dropped(event.dataTransfer, where());
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-choose]")) chooser.click();
    if (event.target.closest("[data-clear-finished]")) {
      uploads.filter((each) => ["done", "refused"].includes(each.state)).forEach(remove);
      document.getElementById("main").focus();
    }
  });
  chooser.addEventListener("change", () => {
    add(Array.from(chooser.files).map((file) => ({ file, path: file.name })), where());
    chooser.value = "";
  });
  restore();
  addEventListener("beforeunload", (event) => {
    if (!window.stowageFiles.downloading && uploads.some((each) => ["running", "waiting"].includes(each.state))) event.preventDefault();
  });
})();
