#!/usr/bin/env python
"""A guest book: models, migrations, the admin, SQLite, and static files without a separate server.

python manage.py migrate                               (once; DJANGO_SITE_DATA says where SQLite lies)
python manage.py createsuperuser                       (for /admin/)
runner serve --app-dir examples/django_site            (finds the project by this file)
gunicorn --chdir examples/django_site guestsite.wsgi
"""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "guestsite.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
