"""The smallest Django project: settings, one view, one route."""

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="benchmark",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],  # as every project has it: Content-Length
)


def hello(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello\n", content_type="text/plain")


urlpatterns = [path("", hello)]
application = get_wsgi_application()
