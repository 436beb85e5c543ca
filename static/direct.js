/* Large files that go directly to the bucket: the console signs the request for each part, the browser sends a few
   at a time, and the console checks and stores the whole. Speaks like tus.Upload as far as uploads.js needs that. */
(function () {
  "use strict";

  const AT_ONCE = 3;
  const SIGNED_AT_ONCE = 20;
  const WAITS = [500, 1000, 2000, 4000, 8000, 15000, 30000, 30000, 60000];
  const section = document.getElementById("uploads");
  if (!section || !section.dataset.directBackend) return;
  const origin = section.dataset.directOrigin;
  const box = section.querySelector("[data-direct]");
  const notice = section.querySelector("[data-cors]");
  const SETTING = "stowage-uploads-through-console";
  const token = () => document.querySelector("meta[name=csrf-token]").content;
  const wait = (milliseconds) => new Promise((done) => { setTimeout(done, milliseconds); });
  let refused = false;
  let accepted = false;

  /* What the console says that it is not: a sentence of its own, with a status. */
  class Answered extends Error {
    constructor(status, text) {
      super("the console refused");
      this.status = status;
      this.originalResponse = { getStatus: () => status, getBody: () => text };
    }
  }

  /* The bucket does not take this file: it goes through the console instead. */
  class ThroughConsole extends Error {}

  async function ask(method, path, body) {
    for (let tries = 0; ; tries += 1) {
      let response = null;
      try {
        response = await fetch(path, {
          method, credentials: "same-origin", body: body && JSON.stringify(body),
          headers: { "X-CSRFToken": token(), "Tus-Resumable": "1.0.0", ...(body ? { "Content-Type": "application/json" } : {}) },
        });
      } catch (offline) { /* it is asked again */ }
      if (response && response.ok) return response.status === 204 ? null : response.json();
      const again = !response || response.status === 429 || (response.status >= 500 && response.status !== 507);
      if (!again || tries >= WAITS.length) throw new Answered(response ? response.status : 0, response ? await response.text() : "");
      await wait(WAITS[tries]);
    }
  }

  class Upload {
    constructor(file, options) {
      this.file = file;
      this.options = options;
      this.url = options.id ? `${options.endpoint}/${options.id}` : "";
      this.sent = new Map();
      this.loaded = new Map();
      this.requests = new Set();
      this.stopped = true;
    }

    start() {
      this.stopped = false;
      this.run().then(
        () => { if (!this.stopped) this.options.onSuccess(); },
        (error) => {
          if (this.stopped) return;
          this.halt();
          const status = error instanceof Answered ? error.status : -1;
          if (error instanceof ThroughConsole || [409, 422].includes(status)) this.leave(error);
          else this.options.onError(error);
        },
      );
    }

    halt() {
      this.stopped = true;
      this.requests.forEach((request) => request.abort());
      this.loaded.clear();
    }

    async abort(remove) {
      this.halt();
      if (remove && this.url) await ask("DELETE", this.url);
    }

    leave(error) {
      if (this.url) ask("DELETE", this.url).catch(() => { /* it expires by itself */ });
      this.options.onThroughConsole(error instanceof ThroughConsole ? error.message : "");
    }

    async run() {
      if (this.url) {
        const known = await ask("GET", `${this.url}/parts`);
        this.plan(known);
        known.parts.forEach((part) => this.sent.set(part.number, part.etag));
      } else {
        const begun = await ask("POST", `${this.options.endpoint}/direct`, { ...this.options.about, size: this.file.size });
        this.url = begun.upload_url;
        this.plan(begun);
        this.options.onUrl();
      }
      const left = [];
      for (let number = 1; number <= this.count; number += 1) if (!this.sent.has(number)) left.push(number);
      this.progress();
      const signed = [];
      const next = async () => {
        for (;;) {
          if (!signed.length) {
            if (!left.length) return null;
            const numbers = left.splice(0, SIGNED_AT_ONCE);
            signed.push(ask("POST", `${this.url}/parts`, { numbers }).then((told) => told.parts));
          }
          const batch = signed[0];
          const parts = await batch;
          if (parts.length) return parts.shift();
          /* Another sender may have seen its end before. */
          if (signed[0] === batch) signed.shift();
        }
      };
      const sender = async () => {
        for (let part = await next(); part && !this.stopped; part = await next()) await this.send(part);
      };
      await Promise.all(Array.from({ length: AT_ONCE }, sender));
      if (this.stopped) return;
      const parts = Array.from(this.sent, ([number, etag]) => ({ number, etag })).filter((part) => part.etag);
      await ask("POST", `${this.url}/finish`, { parts });
    }

    plan(told) {
      this.partSize = told.part_size;
      this.count = told.part_count;
    }

    async send(first) {
      let part = first;
      for (let tries = 0; !this.stopped; tries += 1) {
        const { status, etag } = await this.put(part);
        if (this.stopped) return;
        if (status === 200) {
          accepted = true;
          this.sent.set(part.number, etag);
          this.loaded.delete(part.number);
          this.progress();
          return;
        }
        if (status === 404) throw new ThroughConsole(window.gettext("The bucket no longer knew the upload"));
        if (status === 0 && !accepted && tries && await reachable()) {
          refuse();
          throw new ThroughConsole(window.gettext("The bucket does not let this page send to it"));
        }
        if (tries >= WAITS.length || (status === 0 && !accepted && tries > 2)) throw new ThroughConsole(window.gettext("The bucket could not be reached"));
        this.options.onBroken();
        await wait(WAITS[tries]);
        /* Its address may have expired meanwhile. */
        if (!this.stopped) [part] = (await ask("POST", `${this.url}/parts`, { numbers: [part.number] })).parts;
      }
    }

    put(part) {
      const start = (part.number - 1) * this.partSize;
      const request = new XMLHttpRequest();
      this.requests.add(request);
      return new Promise((done) => {
        const end = (status) => { this.requests.delete(request); done({ status, etag: status === 200 ? request.getResponseHeader("ETag") : "" }); };
        request.upload.onprogress = (event) => { this.loaded.set(part.number, event.loaded); this.progress(); };
        request.onload = () => end(request.status);
        request.onerror = () => end(0);
        request.onabort = () => end(0);
        request.open(part.method, part.url);
        Object.entries(part.headers).forEach(([name, value]) => request.setRequestHeader(name, value));
        request.send(this.file.slice(start, start + part.size));
      });
    }

    progress() {
      let bytes = 0;
      this.sent.forEach((etag, number) => { bytes += Math.min(this.partSize, this.file.size - (number - 1) * this.partSize); });
      this.loaded.forEach((loaded, number) => { if (!this.sent.has(number)) bytes += loaded; });
      if (!this.stopped) this.options.onProgress(Math.min(bytes, this.file.size));
    }
  }

  /* A browser does not tell a page why a request failed. One that may read nothing of the answer needs no CORS. */
  async function reachable() {
    try {
      await fetch(origin, { mode: "no-cors", credentials: "omit", cache: "no-store" });
      return true;
    } catch (offline) { return false; }
  }

  function refuse() {
    refused = true;
    if (!notice) return;
    const rule = Object.entries({
      AllowedOrigins: [location.origin], AllowedMethods: ["GET", "HEAD", "PUT"], AllowedHeaders: ["*"],
      ExposeHeaders: ["ETag"], MaxAgeSeconds: 3600,
    }).map(([name, value]) => `  "${name}": ${JSON.stringify(value)}`);
    notice.querySelector("[data-page]").textContent = location.origin;
    notice.querySelector("[data-rule]").textContent = `[{\n${rule.join(",\n")}\n}]`;
    notice.hidden = false;
    window.stowageFiles.announce(notice.querySelector("b").textContent);
  }

  async function fix(form) {
    const button = form.querySelector("button");
    button.disabled = true;
    const fields = new URLSearchParams({ csrf_token: token(), finding: "cors", origin: location.origin });
    const response = await fetch(form.action, { method: "POST", credentials: "same-origin", body: fields }).catch(() => null);
    button.disabled = false;
    if (response && response.ok) {
      refused = false;
      notice.hidden = true;
      window.stowageFiles.toast("ok", window.gettext("The rule was added. The next large files go directly to the bucket."));
    } else {
      window.stowageFiles.toast("bad", window.gettext("The rule could not be added. See the bucket settings on the backend’s page."));
    }
  }

  if (notice) {
    notice.addEventListener("submit", (event) => { event.preventDefault(); fix(event.target); });
    notice.querySelector("[data-close]").addEventListener("click", () => { notice.hidden = true; });
  }
  try { box.checked = !localStorage.getItem(SETTING); } catch (blocked) { /* it holds for this page */ }
  box.addEventListener("change", () => {
    try {
      if (box.checked) localStorage.removeItem(SETTING);
      else localStorage.setItem(SETTING, "yes");
    } catch (blocked) { /* it holds for this page */ }
  });

  window.stowageDirect = {
    Upload,
    takes: (file, backend) => box.checked && !refused && backend === section.dataset.directBackend
      && file.size >= Number(section.dataset.directFrom),
  };
})();
