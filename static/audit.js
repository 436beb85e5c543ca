/* Times of the audit log as they are where the reader is, and its days accordingly. Without this they are those
   of the console. */
(function () {
  "use strict";

  var gettext = window.gettext;
  var zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "";

  function clock(part) {
    var when = new Date(part.dateTime);
    part.textContent = when.toLocaleTimeString(window.pageLocale, { hour: "2-digit", minute: "2-digit" });
    part.title = when.toLocaleString(window.pageLocale, { dateStyle: "full", timeStyle: "long" });
    part.removeAttribute("data-clock");
  }

  function midnight(when) { return new Date(when.getFullYear(), when.getMonth(), when.getDate()).getTime(); }

  function dayOf(when) {
    var now = new Date();
    var days = Math.round((midnight(now) - midnight(when)) / 86400000);
    var name = when.toLocaleDateString(window.pageLocale, { weekday: "long", day: "numeric", month: "long" });
    if (window.pageLocale === "en-GB") name = name.replace(",", "");
    if (days === 0) return gettext("Today, %(day)s", { day: name });
    if (days === 1) return gettext("Yesterday");
    if (when.getFullYear() === now.getFullYear()) return name;
    return when.toLocaleDateString(window.pageLocale, { day: "numeric", month: "long", year: "numeric" });
  }

  /* The lists were made for the console's days: they are made again for the reader's. */
  function group() {
    var lists = Array.prototype.slice.call(document.querySelectorAll("ol.log"));
    /* Without these the person has chosen a time zone, and the server has made the days of it. */
    if (!lists.length || !document.querySelector("time[data-clock]")) return;
    var entries = Array.prototype.slice.call(document.querySelectorAll("ol.log > li"));
    var made = document.createDocumentFragment(), last = "", list = null;
    entries.forEach(function (entry) {
      var title = dayOf(new Date(entry.querySelector("time").dateTime));
      if (title !== last) {
        var heading = document.createElement("h3");
        heading.className = "day";
        heading.textContent = title;
        list = document.createElement("ol");
        list.className = "log";
        made.append(heading, list);
        last = title;
      }
      list.append(entry);
    });
    var first = document.querySelector("[data-day]");
    first.parentNode.insertBefore(made, first);
    document.querySelectorAll("[data-day]").forEach(function (heading) { heading.remove(); });
    lists.forEach(function (old) { old.remove(); });
  }

  function localTimes() {
    document.querySelectorAll("time[data-clock]").forEach(clock);
    document.querySelectorAll("[data-with-script]").forEach(function (part) { part.hidden = false; });
  }

  group();
  localTimes();
  document.querySelectorAll("[data-zone]").forEach(function (part) {
    part.textContent = zone ? gettext("your time (%(zone)s)", { zone: zone.split("/").pop().replace(/_/g, " ") }) : gettext("your time");
  });
  /* Enter in the search and a choice send the form by themselves. */
  document.querySelectorAll("[data-without-script]").forEach(function (part) { part.hidden = true; });
  document.querySelectorAll("[data-submits]").forEach(function (field) {
    field.addEventListener("change", function () { field.form.requestSubmit(); });
  });
  document.addEventListener("htmx:afterSettle", localTimes);
})();
