"""What ASGI servers serve."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "guestsite.settings")
application = get_asgi_application()
