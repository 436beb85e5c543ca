"""For any WSGI server: ``gunicorn -k gthread wsgi:app``.

Run jobs beside it with ``stowage runner``; ``stowage run`` starts both by itself.
"""

from dashboard.app import create_app, join_consoles, keep_from_collector

app = create_app()
join_consoles(app)
keep_from_collector()
