/* What scripts say, in the language of the page. The English sentence is the id; its translation comes from
   /language/… as window.stowageTexts, which an English page does not load. */
(function () {
  "use strict";

  var texts = window.stowageTexts || {};

  function fill(text, values) {
    return text.replace(/%\((\w+)\)s/g, function (whole, name) {
      return values && name in values ? values[name] : whole;
    }).replace(/%%/g, "%");
  }

  window.gettext = function (text, values) {
    return fill((texts[text] || [text])[0], values);
  };

  /* English and German have one form for one thing and one for all other numbers. */
  window.ngettext = function (one, many, count, values) {
    var forms = texts[one] || [one, many];
    return fill(forms[count === 1 ? 0 : 1], Object.assign({ num: count }, values));
  };

  /* For Intl: pages write English dates with the day first. */
  window.pageLocale = { en: "en-GB" }[document.documentElement.lang] || document.documentElement.lang;
})();
