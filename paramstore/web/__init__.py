"""The local web page and the HTTP API under it: ``paramstore serve``. Needs the extra ``paramstore[web]``.

Only the command line imports it. What may come in is judged by ``_admission``, applied by ``_guard`` around the whole
application, and ``_server`` listens; docs/web-security.md says what guards what.
"""
