"""For any WSGI server: ``gunicorn -k gthread wsgi:app``.

Run jobs beside it with ``stowage runner``; ``stowage run`` starts both by itself.
"""

from dashboard.app import create_app

app = create_app()
