"""Django's own tests of its file storages.

``suite.py`` and ``memory_suite.py`` are tests/file_storage/tests.py and test_inmemory_storage.py of
Django 5.2.19, word for word (licence: LICENSE beside this file). ``models.py`` is ours: the same fields
over Stowage's storage. ``tests/storage/integrations/test_django_suite.py`` runs them.
"""
