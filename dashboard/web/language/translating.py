"""Translation of what templates, pages and scripts say themselves.

Templates: ``{{ _("Save") }}``, ``{% trans name=x %}…{% endtrans %}`` and ``{% pluralize %}``. Python:
:func:`gettext` and :func:`ngettext`. The ids are the English sentences; ``%(name)s`` is a placeholder.
"""

from __future__ import annotations

import json
from functools import lru_cache
from gettext import NullTranslations
from typing import Any

from flask import Flask, Response, abort, url_for
from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from dashboard.settings import LANGUAGES
from dashboard.web import assets
from dashboard.web.guards import Access, declare
from dashboard.web.language import choice
from dashboard.web.language.catalogs import SOURCE, catalog
from dashboard.web.language.localized import numerals
from dashboard.web.language.sentences import translated, translated_parts

_SCRIPT = "language_script"


def gettext(message: str, /, **values: Any) -> str:
    """Return ``message`` in the language of this request, with ``values`` in the places of their names."""
    text = _message(message)
    return text % values if values else text


def ngettext(one: str, many: str, count: int, /, **values: Any) -> str:
    """Return the form for ``count`` in the language of this request; ``%(num)s`` is the count."""
    return _messages(one, many, count) % {"num": _figure(count), **values}


@pass_context
def _text_in_template(context: Context, message: str, /, **values: Any) -> str:
    """As Jinja's own, which takes three calls for each text."""
    if not context.eval_ctx.autoescape:
        return _message(message) % values
    text = _markup(catalog(choice.language()).translations, message)
    return text % values if values else _bare(text)


@lru_cache(4_096)
def _markup(translations: NullTranslations, message: str) -> Markup:
    return Markup(translations.gettext(message))  # noqa: S704  # a text of ours


@lru_cache(4_096)
def _bare(text: Markup) -> Markup:
    """A text without values: its percent signs are written twice, as in every text."""
    return text % {}


@pass_context
def _in_template(context: Context, one: str, many: str, count: int, **values: Any) -> str:
    """Jinja's own ``ngettext`` would write the number without separators."""
    text = _messages(one, many, count)
    kept = Markup(text) if context.eval_ctx.autoescape else text  # noqa: S704  # a text of ours
    return kept % {**values, "num": _figure(count)}


@pass_context
def _translated(context: Context, sentence: str) -> str:
    """With the context, so that Jinja never translates a constant once and for all."""
    found = translated(sentence)
    # A label that Python made may be one that templates say, too.
    return _message(found) if found is sentence or found == sentence else found


def _figure(count: int) -> str:
    return numerals(f"{count:,}")


def _message(message: str) -> str:
    language = choice.language()
    return message if language == SOURCE else catalog(language).translations.gettext(message)


def _messages(one: str, many: str, count: int) -> str:
    language = choice.language()
    if language == SOURCE:
        return one if count == 1 else many
    return catalog(language).translations.ngettext(one, many, count)


def install(app: Flask) -> None:
    """Make templates translatable, and serve what scripts say in other languages. Called before templates are
    loaded."""
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]
        _message, _messages, newstyle=True
    )
    app.jinja_env.policies["ext.i18n.trimmed"] = True
    app.jinja_env.filters.update(translated=_translated, translated_parts=translated_parts)
    app.jinja_env.globals.update(
        gettext=_text_in_template,
        _=_text_in_template,
        ngettext=_in_template,
        page_language=choice.language,
        page_theme=choice.theme,
        script_language_url=_script_url,
    )
    app.add_url_rule("/language/<code>.<digest>.js", _SCRIPT, _script)


def _script_url() -> str:
    """The address of the translations for this page's scripts; empty where they are in English already."""
    language = choice.language()
    if language == SOURCE:
        return ""
    return url_for(_SCRIPT, code=language, digest=catalog(language).digest)


@declare(Access.ALWAYS)
def _script(code: str, digest: str) -> Response:
    """What the scripts of pages say in a language, under an address that changes with it."""
    if code not in LANGUAGES or code == SOURCE or catalog(code).digest != digest:
        abort(404)
    texts = json.dumps(catalog(code).scripts, ensure_ascii=True, separators=(",", ":"))
    response = Response(f"window.stowageTexts={texts};\n", mimetype="text/javascript")
    assets.keep_forever(response)
    return response
